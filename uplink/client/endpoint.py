"""The ingest as the sender and the probe of a new certificate see it: a base URL, and one certificate's connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

from uplink.client.transport import Answer, Question, Transport
from uplink.client.trust import Trust
from uplink.client.unreached import Obstacle, Unreached
from uplink.wire.errors import WireError
from uplink.wire.otlp import CONTENT_TYPE, ENCODING, Signal, pack, read_accepted
from uplink.wire.verdicts import Act, verdict

PROBE_S: Final = 20.0


class Endpoint:
    """All of it raises `Unreached`, an `OSError`."""

    def __init__(
        self, transport: Transport, url: str, trust: Trust, refused: Callable[[int], None] = lambda _: None
    ) -> None:
        """`refused` is told the generation of a certificate that the server refuses with an alert."""
        self._transport = transport
        self._url = url.rstrip("/")
        self._trust = trust
        self._refused = refused

    async def post(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        deadline_s: float,
    ) -> Answer:
        """A batch."""
        return await self._ask(Question("POST", self._url + path, headers, body, deadline_s=deadline_s))

    async def delete(self, path: str, deadline_s: float) -> Answer:
        """To be forgotten."""
        return await self._ask(Question("DELETE", self._url + path, deadline_s=deadline_s))

    def abort(self) -> None:
        """Of all certificates: there is one transport."""
        self._transport.abort()

    async def _ask(self, question: Question) -> Answer:
        try:
            return await self._transport.ask(question, self._trust)
        except Unreached as error:
            if error.obstacle is Obstacle.IDENTITY:
                self._refused(self._trust.generation)
            raise


class Prober(Protocol):
    """Shows a certificate to where it is to be used."""

    async def probe(self, trust: Trust) -> tuple[Act, str]:
        """What its answer means, and a sentence for people. Raises `Unreached`."""
        ...


class IngestProber:
    """By an empty request, which OTLP wants to succeed (G3). Nothing of ours is in it."""

    def __init__(self, transport: Transport, ingest_url: str) -> None:
        self._transport = transport
        self._url = ingest_url

    async def probe(self, trust: Trust) -> tuple[Act, str]:
        headers = {"Content-Type": CONTENT_TYPE, "Content-Encoding": ENCODING}
        try:
            answer = await Endpoint(self._transport, self._url, trust).post(
                Signal.LOGS.path, pack(b""), headers, PROBE_S
            )
        except Unreached as error:
            if error.obstacle is Obstacle.IDENTITY:
                return Act.REENROL, str(error)
            raise
        act, said = verdict(answer.status, answer.content_type), f"{self._url} answers {answer.status}"
        if act is Act.DONE:
            try:
                read_accepted(Signal.LOGS, answer.body)
            except WireError as error:
                return Act.FAILED, f"{said}, and {error}"
        if act is Act.REENROL:
            return act, f"{said} to the new certificate"
        return act, said if act is Act.DONE else f"{said}, and not as a receiver does to an empty request"
