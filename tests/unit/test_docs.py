"""The generated pages are what their tables say, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from muster.api import schemas
from muster.api.problems import Kind
from muster.docs.api import api_page
from muster.docs.pages import PAGES, write_pages
from muster.docs.problems import problems_page
from muster.docs.reasons import PAGE, reason_link, reasons_page
from muster.docs.types import in_words
from tests.support.hub import MadeUpHub, api_server
from validator.reasons import REASONS, Reason

ROOT = Path(__file__).parents[2]

WRITTEN = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]

_FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("place", PAGES)
def test_a_page_is_up_to_date(place: str) -> None:
    assert (ROOT / place).read_text(encoding="utf-8") == PAGES[place](), "run `make docs`"


def test_every_page_is_written_below_the_directory_asked_for(tmp_path: Path) -> None:
    write_pages(tmp_path)
    for place, page in PAGES.items():
        assert (tmp_path / place).read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("place", WRITTEN)
def test_every_link_leads_somewhere(place: str) -> None:
    text = _FENCED.sub("", (ROOT / place).read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        page = (ROOT / place).parent / path if path else ROOT / place
        assert page.exists(), f"{place}: {target}"
        if anchor:
            assert anchor in anchors(page.read_text(encoding="utf-8")), f"{place}: {target}"


def anchors(page: str) -> set[str]:
    """As GitHub makes them of headings, and those that are written down."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page), re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)"', page))


# -- architecture


def test_the_task_tree_has_the_tasks_that_there_are() -> None:
    (tree,) = re.findall(
        r"^```\n(signals .*?)^```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL | re.MULTILINE
    )
    told = {line.split()[0].partition(":")[0] for line in tree.splitlines()}
    code = "".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py") if runs(path))
    started = re.findall(r"create_task\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*?name=f?\"([a-z-]+)", code)
    assert len(started) > 20
    assert set(started) == told


def test_the_agents_tree_has_the_tasks_that_an_agent_has() -> None:
    (tree,) = re.findall(
        r"^```\n(assignment .*?)^```", (ROOT / "docs/architecture.md").read_text(), re.DOTALL | re.MULTILINE
    )
    told = {line.split()[0].partition(":")[0] for line in tree.splitlines()}
    paths = [ROOT / "muster/agent.py", *(ROOT / "validator/agent").glob("*.py"), ROOT / "validator/engine.py"]
    code = "".join(path.read_text() for path in [*paths, ROOT / "validator/probes/renewed.py"])
    assert set(re.findall(r"create_task\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*?name=f?\"([a-z-]+)", code)) == told


PACKAGES = ("muster", "collector", "uplink", "validator", "store")


def runs(path: Path) -> bool:
    """Whether it is part of the service, not of the demo, a command, the receiver, or the agent."""
    agent = path in {ROOT / "validator/probes/renewed.py", ROOT / "muster/agent.py"}
    apart = {"demo", "cli", "ops", "agent", "receiver"} & set(path.relative_to(ROOT).parts)
    return not (apart or agent) or path.name == "notify.py"


# -- reasons


def test_every_reason_has_its_row_and_every_link_its_anchor() -> None:
    page = reasons_page()
    assert sorted(re.findall(r'<a id="(\w+)"', page)) == sorted(reason.lower() for reason in REASONS)
    for reason in Reason:
        path, _, anchor = reason_link(reason).partition("#")
        assert path == PAGE
        assert f'<a id="{anchor}"></a>**{reason}**' in page


def test_every_row_has_its_five_cells() -> None:
    rows = [line for line in reasons_page().splitlines() if line.startswith("| <a")]
    assert len(rows) == len(REASONS)
    assert {len(re.split(r"(?<!\\)\|", row)) for row in rows} == {7}


# -- the API


def test_every_problem_has_its_row_and_says_what_to_do() -> None:
    page = problems_page()
    assert re.findall(r"`/problems/([a-z-]+)` \|", page) == [kind.type.rpartition("/")[2] for kind in Kind]
    assert all(kind.remedy.endswith(".") for kind in Kind)


def test_every_route_has_its_section() -> None:
    sections = re.findall(r"^### `(\w+) (\S+)`$", api_page(), re.MULTILINE)
    assert sorted(sections) == sorted((route.method, route.path) for route in api_server(MadeUpHub()).routes)


def test_every_parameter_and_every_member_is_in_the_page() -> None:
    page = api_page()
    sections = {part.splitlines()[0].strip("`"): part for part in page.split("\n### ")[1:]}
    for route in api_server(MadeUpHub()).routes:
        section = sections[f"{route.method} {route.path}"]
        for name, field in route.query.model_fields.items():
            assert f"| `{field.alias or name}` |" in section
    for model in (schemas.ClusterDetail, schemas.Hello, schemas.Dropped, schemas.TokenCreate, schemas.Bucket):
        own = set(model.model_fields) - set(model.__bases__[0].model_fields)  # type: ignore[attr-defined]
        assert {member for member in own if f"| `{member}` |" not in sections[model.__name__]} == set()


def test_every_problem_of_a_route_is_linked_from_it_or_from_all() -> None:
    page = api_page()
    everywhere, _, rest = page.partition("## All paths")
    sections = {part.splitlines()[0].strip("`"): part for part in rest.split("\n### ")[1:]}
    for route in api_server(MadeUpHub()).routes:
        section = sections[f"{route.method} {route.path}"]
        for kind in route.problems:
            link = f"(problems.md#{kind.type.rpartition('/')[2]})"
            assert link in section or link in everywhere, (route.path, kind)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "format": "date-time"}, "moment"),
        ({"type": "string", "minLength": 1, "maxLength": 64}, "text, 1 to 64 characters"),
        ({"type": "string", "maxLength": 64}, "text, at most 64 characters"),
        ({"type": "integer", "minimum": 1, "maximum": 5000}, "whole number, 1 to 5000"),
        ({"type": "integer", "minimum": 1, "exclusiveMaximum": 2**63}, "whole number, at least 1"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 120}, "number, above 0, at most 120"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"anyOf": [{"type": "integer"}, {"type": "number"}]}, "number"),
        ({"enum": ["a", "b"], "type": "string"}, "`a`, `b`"),
        ({"type": "array", "items": {"enum": ["a"]}}, "some of `a`"),
        ({"type": "array", "items": {"$ref": "#/$defs/Token"}}, "list of [Token](#token)"),
        ({"$ref": "#/$defs/Role"}, "`viewer`"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of whole number"),
        ({"type": "object", "additionalProperties": True}, "object"),
    ],
)
def test_a_schema_is_told_in_words(schema: dict[str, object], words: str) -> None:
    assert in_words(schema, {"Role": {"enum": ["viewer"]}, "Token": {"type": "object"}}) == words
