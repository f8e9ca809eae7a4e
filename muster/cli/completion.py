"""For the shell's completion. Silent on every error, and never longer than half a second: somebody holds the tab key.

Without pydantic and rich, which take longer to import than the service takes to answer.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from muster.cli.options import DEFAULT_SERVER

WITHIN_S = 0.5
"""For the whole question, a name server that hangs included."""

MOST = 200
"""Names on offer: more is no help."""

HEALTHS = ("Unreachable", "Unhealthy", "Unknown", "Degraded", "Suspended", "Healthy")

STATUSES = ("Valid", "LimitedAvailability", "ValidationInProgress", "ValidationFailed", "DeletePending")

SORTS = ("attention", "name", "since", "age", "last-success")
"""Each also with `-` before it: the other way round."""

PROVIDERS = ("azure", "s3", "gcs")

METHODS = ("agent", "resource", "direct")

LEVELS = ("debug", "info", "warning", "error")


def names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Clusters whose name begins so."""
    query = [("limit", MOST), *([("name", incomplete)] if incomplete else [])]
    listed = _listed(_asked(ctx.params, "/api/v1/clusters", query), "clusters")
    return [name for name in _texts(listed, "name") if name.startswith(incomplete)]


def tokens(ctx: typer.Context, incomplete: str) -> list[str]:
    """Tokens that were not revoked."""
    listed = _listed(_asked(ctx.params, "/api/v1/tokens", ()), "tokens")
    working = [token for token in listed if not token.get("revoked_at")]
    return [name for name in _texts(working, "name") if name.startswith(incomplete)]


def locations(ctx: typer.Context, incomplete: str) -> list[str]:
    """Backup locations whose name begins so."""
    query = [("limit", MOST), *([("name", incomplete)] if incomplete else [])]
    listed = _listed(_asked(ctx.params, "/api/v1/locations", query), "locations")
    return [name for name in _texts(listed, "name") if name.startswith(incomplete)]


def healths(incomplete: str) -> list[str]:
    """Healths; the last of several with commas between them."""
    return _of(HEALTHS)(incomplete)


def statuses(incomplete: str) -> list[str]:
    """Statuses of backup locations, likewise."""
    return _of(STATUSES)(incomplete)


def reasons(incomplete: str) -> list[str]:
    """Reasons, likewise."""
    from validator.reasons import Reason  # noqa: PLC0415 - only when completing

    return _of([reason.value for reason in Reason])(incomplete)


def providers(incomplete: str) -> list[str]:
    """Of backup locations, likewise."""
    return _of(PROVIDERS)(incomplete)


def methods(incomplete: str) -> list[str]:
    """Who asks about a pair, likewise."""
    return _of(METHODS)(incomplete)


def sorts(incomplete: str) -> list[str]:
    """Orders of the list of clusters."""
    return [sort for word in SORTS for sort in (word, f"-{word}") if sort.startswith(incomplete)]


def levels(incomplete: str) -> list[str]:
    """Log levels."""
    return [level for level in LEVELS if level.startswith(incomplete)]


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=names)]

MaybeNameArgument = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Name or id; all without.", autocompletion=names)
]

HealthOption = Annotated[
    list[str] | None,
    typer.Option("--health", metavar="HEALTH", help="Only these (commas, or repeat).", autocompletion=healths),
]


def _of(words: Iterable[str]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{word}" for word in words if word.casefold().startswith(last.casefold())]

    return complete


def _listed(document: Mapping[str, Any], member: str) -> list[Mapping[str, Any]]:
    """Objects, out of what somebody's server has sent."""
    items = document.get(member)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _texts(items: Iterable[Mapping[str, Any]], member: str) -> list[str]:
    """What may stand on a command line."""
    found = (item.get(member) for item in items)
    return [text for text in found if isinstance(text, str) and text.isprintable()]


def _asked(options: Mapping[str, Any], path: str, query: Iterable[tuple[str, object]]) -> Mapping[str, Any]:
    """The answer, if there is one in time. The thread is left behind: nothing can stop a name server that hangs."""
    answers: list[Mapping[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(_ask(options, path, query)), daemon=True)
    thread.start()
    thread.join(WITHIN_S)
    return answers[0] if answers else {}


def _ask(options: Mapping[str, Any], path: str, query: Iterable[tuple[str, object]]) -> Mapping[str, Any]:
    from muster.cli.errors import BadServer, NotReachable  # noqa: PLC0415 - only when completing
    from muster.cli.transport import Request, Transport  # noqa: PLC0415 - the same

    server = options.get("server") or os.environ.get("MUSTER_SERVER") or DEFAULT_SERVER
    try:
        transport = Transport(
            server,
            _file(options, "token_file", "MUSTER_TOKEN_FILE"),
            _file(options, "ca_file", "MUSTER_CA_FILE"),
            WITHIN_S,
        )
        answer = transport.ask(Request("GET", path, list(query)))
        found = json.loads(answer.body) if answer.status == 200 else {}
    except (BadServer, NotReachable, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _file(options: Mapping[str, Any], option: str, variable: str) -> Path | None:
    named = options.get(option) or os.environ.get(variable)
    return Path(named) if named else None
