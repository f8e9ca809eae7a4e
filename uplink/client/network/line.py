"""What the sender needs of a connection to the endpoint, and how it gets it from the one transport that there is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from uplink.client.network.transport import Question, Transport
from uplink.client.network.trust import Trust


class Reply(Protocol):
    """An answer, its body bounded and not unpacked."""

    @property
    def status(self) -> int:
        """HTTP's."""
        ...

    @property
    def content_type(self) -> str | None:
        """The header, with parameters or without."""
        ...

    @property
    def content_encoding(self) -> str | None:
        """The header."""
        ...

    @property
    def body(self) -> bytes:
        """At most `MAX_ANSWER_BYTES`."""
        ...

    @property
    def retry_after(self) -> str | None:
        """The header, unread."""
        ...

    @property
    def date(self) -> str | None:
        """The header, unread."""
        ...


class Line(Protocol):
    """Requests to one endpoint with one certificate: mTLS, no redirects, bodies in small pieces."""

    @property
    def generation(self) -> int:
        """Rises with each certificate. The connections of one never serve another: TLS shows a certificate once."""
        ...

    async def post(self, path: str, body: bytes, headers: Mapping[str, str], deadline_s: float) -> Reply:
        """Raises `Unreached`; `Silenced`, which is one, where it was cut or may not be."""
        ...

    async def delete(self, path: str, deadline_s: float) -> Reply:
        """The same."""
        ...


@dataclass(frozen=True, slots=True)
class IngestLine:
    """The real one."""

    generation: int
    transport: Transport
    url: str
    """The origin that was consented to."""
    trust: Trust

    async def post(self, path: str, body: bytes, headers: Mapping[str, str], deadline_s: float) -> Reply:
        question = Question("POST", self.url + path, headers, body, deadline_s=deadline_s)
        return await self.transport.ask(question, self.trust)

    async def delete(self, path: str, deadline_s: float) -> Reply:
        return await self.transport.ask(Question("DELETE", self.url + path, deadline_s=deadline_s), self.trust)
