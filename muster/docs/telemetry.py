"""The page of telemetry: every field that can leave, from the data dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from uplink.client.consent.dictionary import Field, Kind, Type, dictionary
from uplink.client.consent.streams import Stream

_HEAD = """\
# Telemetry: what can leave, and what you decide

<!-- Written by `make docs` from uplink/client/consent/dictionary.toml and muster/docs/telemetry.py. Edit those. -->

Telemetry is off. Nothing is looked up, connected to, made or kept for it until an admin consents. What is promised in
return is in [the commitments](telemetry-commitments.md). How to set it up, its states, and how to receive it yourself:
[uplink.md](uplink.md).

```sh
muster telemetry preview --stream metrics   # what would go, byte for byte; nothing is kept or sent
muster telemetry on --stream metrics --activation-token-file token   # shows what you consent to, and asks
muster telemetry status
muster telemetry off                        # within a second, without a network
muster telemetry audit --verify             # who switched what; whether somebody changed the log
```

- A file on the service's own host decides: `telemetry/consent.json` below the data directory, readable by the service's
  user alone. Without it, or where it is damaged or others could have written it, telemetry is off, and
  `muster telemetry status` says why.
- `MUSTER_TELEMETRY=off` or `DO_NOT_TRACK=1` in the environment of `muster run` overrides everything.
- There are three streams, each with a switch of its own. A new field here, or another type, purpose, classification or
  retention of one, suspends its stream until somebody consents again. So do other commitments, another organisation,
  another endpoint.
- This dictionary is what the encoder works by. A field that is not here can't be written, and a value that is not of
  its type is dropped and counted.
- Names that people gave (type *name*) are replaced by keyed hashes, unless plain names are asked for. Free text (type
  *text*) is left out unless it is asked for, and redacted then.
- Nothing from before the consent is sent.
- A copy of what was sent is kept on the host, in `telemetry/sent/`, the newest 500 batches or 64 MiB. It stays after
  off: `gunzip -c FILE | protoc --decode_raw` reads it.
"""

_CLASSES = """
*operational*: about the service and the fleet as a whole. *identifier*: a random number that stands for a thing.
*customer*: a name or text that people chose, and that may tell whose or where a thing is.
"""

_STREAMS: Mapping[Stream, str] = MappingProxyType(
    {
        Stream.METRICS: "Numbers about the fleet, and each cluster's health.",
        Stream.LOGS: "Changes of health, as they happen. No log lines of Muster or of anything else.",
        Stream.INVENTORY: "Which clusters and backup locations there are.",
    }
)


def telemetry_page() -> str:
    """All of `docs/telemetry.md`."""
    known = dictionary()
    lines = [_HEAD, "## The data dictionary", "", f"Version {known.version}.", _CLASSES.strip()]
    lines += ["", "### With every batch", "", *_table(known.resource.values())]
    for stream in Stream:
        lines += ["", f"### Stream `{stream}`", "", _STREAMS[stream]]
        for kind in known.kinds.values():
            if kind.stream is stream:
                lines += _kind(kind)
    return "\n".join(lines) + "\n"


def _kind(kind: Kind) -> Iterable[str]:
    what = "event" if kind.shape is None else f"metric, {kind.shape}, {kind.field.type}, in `{kind.field.unit}`"
    kept = f"*{kind.field.classification}*, kept {kind.field.retention}"
    yield from ("", f"#### `{kind.name}`", "", f"{kind.field.purpose} ({what}; {kept}.)")
    inner = [*kind.attributes.values(), *([] if kind.body is None else [kind.body])]
    if inner:
        yield from ("", *_table(inner))


def _table(fields: Iterable[Field]) -> Iterable[str]:
    yield "| Field | Type | Purpose | Classification | Kept | Example |"
    yield "|---|---|---|---|---|---|"
    for field in fields:
        kind = ", ".join(f"`{value}`" for value in field.values) if field.type is Type.CHOICE else field.type.value
        cells = (f"`{field.name}`", kind, field.purpose, field.classification, field.retention, f"`{field.example}`")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
