"""Reads `tests/unit/transcripts/*.http`: what real servers answered, as it was recorded.

A record is a title (`###`), what was sent (`>`), the head of the answer (`<`), and its body. Bodies
end where Content-Length says; one that the recording cut short ends in `… (N characters in all)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from validator.net.http1 import HttpAnswer

TRANSCRIPTS = Path(__file__).parents[1] / "unit" / "transcripts"


@dataclass(frozen=True, slots=True)
class Record:
    """One request and its answer."""

    title: str
    method: str
    target: str
    """Path and query."""
    status: int
    """0 where there was no answer."""
    head: tuple[str, ...]
    """Status line and headers."""
    body: bytes
    whole: bool
    """False = the recording cut the body short."""

    @property
    def answer(self) -> HttpAnswer:
        """As the probe gets it."""
        headers = dict(line.split(": ", 1) for line in self.head[1:])
        lower = {name.lower().encode(): value.encode() for name, value in headers.items()}
        return HttpAnswer(self.status, lower, self.body, keep_alive=True)

    @property
    def wire(self) -> bytes:
        """As the server sent it."""
        body = self.body
        if "Transfer-Encoding: chunked" in self.head:
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        return "\r\n".join((*self.head, "", "")).encode() + body


def read_transcript(name: str) -> dict[str, Record]:
    """All records of one file that hold a request, by title. Fails on two of one title."""
    text = (TRANSCRIPTS / name).read_text()
    records = [_record(*part.split("\n", 1)) for part in text.split("\n### ")[1:]]
    by_title = {record.title: record for record in records if record.method}
    assert len(by_title) == len([record for record in records if record.method])
    return by_title


def _record(title: str, text: str) -> Record:
    lines = text.split("\n")
    sent = [line[2:] for line in lines if line.startswith("> ")]
    received = [line[2:] for line in lines if line.startswith("< ")]
    method, _, target = sent[0].partition(" ") if sent else ("", "", "")
    if not received or received[0].startswith("(no answer"):
        return Record(title, method, target, 0, (), b"", whole=True)
    head = (received[0].partition("   (")[0], *received[1:])
    _, _, body = text.partition("\n<\n")
    length = next((int(line.partition(": ")[2]) for line in head if line.startswith("Content-Length: ")), None)
    raw = body.encode() if length is None else body.encode()[:length]
    whole = "characters in all)" not in body and length in (None, len(raw))
    return Record(title, method, target, int(head[0].split(" ")[1]), head, raw, whole)
