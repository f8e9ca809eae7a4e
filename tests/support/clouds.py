"""The askers of S3 and Cloud Storage on loopback, and servers that answer as no emulator does."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from aiohttp import web

from validator.clock import Clock, HubClock
from validator.file_thread import FileThread
from validator.locations import Location, Provider
from validator.net.policy import ConnectPolicy
from validator.net.resolver import CaresResolver
from validator.net.sdk_session import SdkSessions
from validator.probes.aws_clients import AwsClients, AwsSettings
from validator.probes.gcs_clients import GcpSettings, GcsClients

ISSUER = "https://oidc.eks.eu-central-1.amazonaws.com/id/ABC"
SUBJECT = "system:serviceaccount:backup:agent"
ROLE = "arn:aws:iam::123456789012:role/team/Backup"
SIGNATURE = "c2lnbmF0dXJlLWNhbmFyeQ"
"""Of every token here: where it shows, a token has been shown."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def projected(**claims: object) -> str:
    """A service-account token whose signature nobody checks."""
    usual = {"iss": ISSUER, "sub": SUBJECT, "aud": ["sts.amazonaws.com"], "exp": time.time() + 3600}
    parts = [{"alg": "RS256", "kid": "k1"}, usual | claims]
    head = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*head, SIGNATURE])


def bucket(provider: Provider, name: str = "backups", **fields: object) -> Location:
    """A location; for S3 with the bucket in the path, since no emulator has names of its own."""
    usual: dict[str, object] = {"path_style": True, "region": "eu-central-1"} if provider is Provider.S3 else {}
    return Location(UUID(int=7), "backups", provider, name, **(usual | fields))  # type: ignore[arg-type]


@dataclass(slots=True)
class Stub:
    """A plain HTTP server that answers as it is told and remembers what it was asked."""

    handler: Handler
    url: str = ""
    asked: list[web.BaseRequest] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Stub]:
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        self.asked.append(request)
        return await self.handler(request)


def always(status: int, body: str = "", headers: Mapping[str, str] | None = None) -> Handler:
    """The same answer to everything."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text=body, headers=headers)

    return answer


@asynccontextmanager
async def raw_server(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """`host:port` of a server that speaks no HTTP but what `talk` writes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the request and says nothing."""
    await asyncio.sleep(30)


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Slow-loris: a header that never ends, a byte at a time."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A body that goes on for ever."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Something that is neither HTTP nor TLS."""
    await reader.read(64)
    writer.write(b"\x00\xffSSH-2.0-OpenSSH_9.2\r\n\r\n")
    await writer.drain()


def sdk_sessions(tls: ssl.SSLContext | None = None, *, loopback: bool = True) -> SdkSessions:
    """Must be closed."""
    return SdkSessions(
        ConnectPolicy(allow_loopback=loopback), CaresResolver(), tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )


@asynccontextmanager
async def aws_clients(
    environ: Mapping[str, str], url: str, *, clock: Clock | None = None, loopback: bool = True, **settings: object
) -> AsyncIterator[AwsClients]:
    """Clients that take `url` for S3 and STS."""
    sessions = sdk_sessions(loopback=loopback)
    wanted = AwsSettings(**({"endpoint": url, "sts_endpoint": url, "loopback": True} | settings))  # type: ignore[arg-type]
    clients = AwsClients(environ, sessions, wanted, clock=clock or HubClock(), files=FileThread("test-files"))
    try:
        yield clients
    finally:
        await clients.close()
        await sessions.close()


@asynccontextmanager
async def gcs_clients(
    environ: Mapping[str, str], url: str, *, clock: Clock | None = None, **settings: object
) -> AsyncIterator[GcsClients]:
    """Clients that take `url` for Cloud Storage."""
    sessions = sdk_sessions()
    wanted = GcpSettings(**({"endpoint": url, "plain_http": True} | settings))  # type: ignore[arg-type]
    clients = GcsClients(environ, sessions, wanted, clock=clock or HubClock(), files=FileThread("test-files"))
    try:
        yield clients
    finally:
        await clients.close()
        await sessions.close()


def irsa(directory: Path, **claims: object) -> dict[str, str]:
    """The environment that the webhook of IRSA injects."""
    file = directory / "token"
    file.write_text(projected(**claims))
    return {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(file), "AWS_REGION": "eu-central-1"}


ASSUMED = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn>{arn}</Arn><AssumedRoleId>A:m</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASIACANARYKEY0000000</AccessKeyId><SecretAccessKey>secretkeycanary</SecretAccessKey>
<SessionToken>sessiontokencanary</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
"""What STS answers; moto's differs only in the values."""


def s3_error(code: str, message: str = "", more: str = "") -> str:
    """A body of S3."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"


def sts_error(code: str, message: str = "") -> str:
    """A body of STS."""
    return (
        "<ErrorResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><Error><Type>Sender</Type>"
        f"<Code>{code}</Code><Message>{message}</Message></Error><RequestId>r</RequestId></ErrorResponse>"
    )


def aws_stub(s3: Handler, *, arn: str = "arn:aws:sts::123456789012:assumed-role/Backup/muster") -> Stub:
    """STS that gives credentials, and an S3 that answers with `s3`. STS asks with POST to the root."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST" and request.path == "/":
            return web.Response(text=ASSUMED.format(arn=arn), content_type="text/xml")
        return await s3(request)

    return Stub(answer)


def metadata(
    storage: Handler | None = None, *, email: str = "backup@proj.iam.gserviceaccount.com", token: Handler | None = None
) -> Stub:
    """GKE's metadata server; what is not its own goes to `storage`."""
    google = {"Metadata-Flavor": "Google"}

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("/default/email"):
            return web.Response(text=email, headers=google)
        if request.path.endswith("/default/token"):
            if token is not None:
                return await token(request)
            return web.json_response({"access_token": "ya29.token-canary", "expires_in": 3599}, headers=google)
        assert storage is not None
        return await storage(request)

    return Stub(answer)
