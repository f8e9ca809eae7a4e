"""The certificates that the endpoint is believed by, from a file that the operator names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from uplink.client.enrolment.issued import read_anchors
from uplink.wire.errors import WireError

MAX_ANCHORS_BYTES = 256 * 1024
"""A hundred certificates. Whoever names more has named the system's."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """As PEM; or why there are none."""

    pem: str = ""
    why: str = ""
    """Empty where they can be used, and where none are needed, since there is no endpoint."""


def load_anchors(path: Path | None) -> Anchors:
    """Of a file; raises nothing: telemetry that can't work is no reason for the service not to start."""
    if path is None:
        return Anchors()
    named = f"telemetry_ca_file {path}"
    mend = "name the PEM file that your vendor gave you, and start the service again"
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_ANCHORS_BYTES + 1)
    except OSError as error:
        return Anchors(why=f"{named} can't be read ({error.strerror}): {mend}")
    if len(raw) > MAX_ANCHORS_BYTES:
        return Anchors(why=f"{named} is longer than {MAX_ANCHORS_BYTES} bytes: {mend}")
    try:
        pem = raw.decode()
        found = read_anchors(pem)
    except (UnicodeDecodeError, WireError):
        found = ()
    return Anchors(pem) if found else Anchors(why=f"{named} holds no certificate in PEM: {mend}")
