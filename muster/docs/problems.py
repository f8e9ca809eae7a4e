"""The page of problems, from their table."""

from __future__ import annotations

from muster.api.problems import Kind

PAGE = "problems.md"
"""Its name, beside the other pages."""

_HEAD = """\
# What the API refuses, and what to do

<!-- Written by `make docs` from muster/api/problems.py. Edit that. -->

Every error of the API is a problem document (RFC 9457, `application/problem+json`):

```json
{
  "type": "/problems/cluster-not-found",
  "title": "No cluster has this name or id",
  "status": 404,
  "detail": "Nothing is called 'prod-eu-west'. Did you mean prod-eu-west-1?",
  "suggestions": ["prod-eu-west-1"]
}
```

Programs go by `type`: it never changes, and it is a name, not an address. `title` is the same for every problem of a
type. `detail` is for people: it says what was wrong this time, and what to do. The members that some types have
besides are named below. Readers ignore those that they do not know.

| Type | Status | Means | What to do |
|---|---|---|---|
"""

_FOOT = """
One answer is no problem document, since the request is refused before it is understood: a 400 in plain text to what is
no HTTP, or has a first line or a header of over 8 KB.
"""


def problems_page() -> str:
    """All of `docs/problems.md`."""
    return _HEAD + "".join(f"{_row(kind)}\n" for kind in Kind) + _FOOT


def problem_link(kind: Kind) -> str:
    """A link from another page to the explanation of a kind."""
    return f"[{_name(kind)}]({PAGE}#{_name(kind)})"


def _row(kind: Kind) -> str:
    cells = (f'<a id="{_name(kind)}"></a>`{kind.type}`', str(kind.status), f"{kind.title}.", kind.remedy)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _name(kind: Kind) -> str:
    return kind.type.rpartition("/")[2]
