"""The parts of Azure that no emulator has: Entra, the Resource Manager, and a storage that refuses as told."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import trustme
from aiohttp import web

from validator.clock import HubClock
from validator.file_thread import FileThread
from validator.locations import Environment, Location, Provider
from validator.net.policy import ConnectPolicy
from validator.net.resolver import CaresResolver, Resolver
from validator.net.sdk_session import SdkSessions
from validator.probes.azure_clouds import AzureCloud
from validator.probes.location_ask import AskSettings

if TYPE_CHECKING:
    from validator.probes.azure_blob import AzureBlobProbe
    from validator.probes.azure_clients import AzureClients

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "99999999-8888-7777-6666-555555555555"
ISSUER = "https://issuer.example/cluster-1"
SUBJECT = "system:serviceaccount:muster:agent"

TOKEN_CANARY = "tokencanary"
SIGNATURE_CANARY = "signaturecanary0123456789"


def jwt(**claims: object) -> str:
    """A token that nobody checks the signature of."""
    parts = [{"alg": "RS256", "typ": "JWT", "kid": "k1"}, claims]
    head = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*head, SIGNATURE_CANARY])


def assertion(**claims: object) -> str:
    """A projected service-account token."""
    now = int(time.time())
    usual = {"iss": ISSUER, "sub": SUBJECT, "aud": ["api://AzureADTokenExchange"], "exp": now + 3600}
    return jwt(**(usual | claims))


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class PretendedServer:
    """An HTTPS server that answers as it is told, and remembers what it was asked."""

    ca: trustme.CA
    handler: Handler
    url: str = ""
    asked: list[web.Request] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[PretendedServer]:
        """Until the block ends."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
            await site.start()
            self.url = f"https://localhost:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request, web.BaseRequest)
        self.asked.append(request)  # type: ignore[arg-type]
        return await self.handler(request)  # type: ignore[arg-type]


@dataclass(slots=True)
class Entra:
    """Exchanges tokens, or refuses with `error` (an AADSTS code)."""

    error: str = ""
    status: int = 400
    audience: str = ""
    expires_in: int = 3600
    hold: asyncio.Event | None = None
    tokens: int = 0
    assertions: list[str] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """`POST /{tenant}/oauth2/v2.0/token`."""
        form = await request.post()
        self.assertions.append(str(form.get("client_assertion")))
        self.scopes.append(str(form.get("scope")))
        if self.hold is not None:
            await self.hold.wait()
        if self.error:
            body: dict[str, Any] = {
                "error": "invalid_client",
                "error_description": f"AADSTS{self.error}: Refused, assertion={self.assertions[-1]}. "
                "Trace ID: 0b1c Correlation ID: 77aa Timestamp: 2026-01-01 00:00:00Z",
                "error_codes": [int(self.error)],
            }
            return web.json_response(body, status=self.status, headers=self.headers)
        self.tokens += 1
        now = int(time.time())
        token = jwt(
            iat=now - 5,
            nbf=now - 5,
            exp=now + 3600,
            iss=f"https://sts.windows.net/{TENANT}/",
            aud=self.audience or self.scopes[-1].removesuffix("/.default").split()[0].removesuffix("/.default"),
            canary=TOKEN_CANARY,
        )
        return web.json_response({"access_token": token, "expires_in": self.expires_in, "token_type": "Bearer"})


def storage_error(status: int, code: str, message: str = "Refused.", **headers: str) -> web.Response:
    """As blob storage says no."""
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{message}\nRequestId:1f\n'
    text += "Time:2026-01-01T00:00:00.0Z</Message></Error>"
    usual = {"x-ms-request-id": "1f-2a", "x-ms-version": "2025-07-05", "Content-Type": "application/xml"}
    return web.Response(status=status, text=text, headers=usual | ({"x-ms-error-code": code} if code else {}) | headers)


def properties(**headers: str) -> web.Response:
    """A container's, with nothing special."""
    usual = {
        "ETag": '"0x8D"',
        "Last-Modified": "Wed, 01 Jul 2026 00:00:00 GMT",
        "x-ms-request-id": "1f-2a",
        "x-ms-version": "2025-07-05",
        "x-ms-has-immutability-policy": "false",
        "x-ms-has-legal-hold": "false",
    }
    return web.Response(headers=usual | headers)


def listing(names: tuple[str, ...] = ()) -> web.Response:
    """One page of a container."""
    blobs = "".join(f"<Blob><Name>{name}</Name><Properties></Properties></Blob>" for name in names)
    text = '<?xml version="1.0" encoding="utf-8"?><EnumerationResults ServiceEndpoint="https://x/" ContainerName="c">'
    text += f"<Blobs>{blobs}</Blobs><NextMarker /></EnumerationResults>"
    return web.Response(text=text, headers={"Content-Type": "application/xml", "x-ms-version": "2025-07-05"})


async def healthy(request: web.Request) -> web.StreamResponse:
    """A container that answers everything."""
    return listing() if request.query.get("comp") == "list" else properties()


def location(container: str, **changes: Any) -> Location:
    """A location of Azure, as valid as the changes leave it."""
    usual = Location(
        id=UUID("0195b6c0-0000-7000-8000-000000000001"),
        name="prod",
        provider=Provider.AZURE,
        container=container,
        account="backups",
        environment=Environment.PUBLIC,
    )
    return replace(usual, **changes)


@dataclass(slots=True)
class PretendedAzure:
    """Everything a probe needs of the world, on this machine."""

    folder: Path
    ca: trustme.CA
    entra: Entra = field(default_factory=Entra)
    blob_url: str = ""
    management: str = "https://localhost:1"
    resolver: Resolver = field(default_factory=CaresResolver)
    policy: ConnectPolicy = field(default_factory=lambda: ConnectPolicy(allow_loopback=True))
    clients: AzureClients | None = None
    authority: str = ""

    @property
    def environ(self) -> dict[str, str]:
        """As the webhook injects it; the token file is written anew each time."""
        file = self.folder / "token"
        if not file.exists():
            file.write_text(assertion())
        return {"AZURE_CLIENT_ID": CLIENT, "AZURE_TENANT_ID": TENANT, "AZURE_FEDERATED_TOKEN_FILE": str(file)}

    def probe(self, where: Location, **options: Any) -> AzureBlobProbe:
        """A probe of the location, with the pod's identity unless `environ` says otherwise."""
        from validator.probes.azure_blob import AzureBlobProbe  # noqa: PLC0415 - wants the SDK

        assert self.clients is not None
        usual: dict[str, Any] = {
            "environ": self.environ,
            "asker": "cluster-1",
            "method": "agent",
            "settings": AskSettings(timeout_s=options.pop("timeout_s", 5.0)),
        }
        return AzureBlobProbe(where, clients=self.clients, **(usual | options))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[PretendedAzure]:
        """Entra and the clients, until the block ends."""
        from validator.probes.azure_clients import AzureClients  # noqa: PLC0415 - wants the SDK

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        async with PretendedServer(self.ca, self.entra.answer).running() as server:
            cloud = AzureCloud(
                authority=self.authority or server.url,
                blob_url=self.blob_url,
                management=self.management,
                audience="api://AzureADTokenExchange",
            )
            sessions = SdkSessions(self.policy, self.resolver, context)
            self.clients = AzureClients(
                sessions=sessions, clock=HubClock(), files=FileThread("tokens"), clouds={Environment.PUBLIC: cloud}
            )
            try:
                yield self
            finally:
                self.clients.close()
                await sessions.close()
                if isinstance(self.resolver, CaresResolver):
                    await self.resolver.close()
