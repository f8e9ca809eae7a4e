"""The ingest, as it is asked whether it takes a new certificate."""

from __future__ import annotations

from typing import Final, Protocol

from uplink.client.network.transport import Question, Transport
from uplink.client.network.trust import Trust
from uplink.client.network.unreached import Obstacle, Unreached
from uplink.wire.errors import WireError
from uplink.wire.otlp import CONTENT_TYPE, ENCODING, Signal, pack, read_accepted
from uplink.wire.verdicts import Act, verdict

PROBE_S: Final = 20.0


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
        question = Question("POST", self._url + Signal.LOGS.path, headers, pack(b""), deadline_s=PROBE_S)
        try:
            answer = await self._transport.ask(question, trust)
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
