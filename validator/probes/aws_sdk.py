"""aiobotocore on our own session, with our own credentials. Importing this imports the SDK (0.5 s): do it in a thread.

aiobotocore's own session was rejected: it follows redirects with the session token in a header, reads bodies of any
length, asks the default resolver, takes proxies from the environment and loads certificates in the default executor.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from botocore import UNSIGNED
from botocore.credentials import ReadOnlyCredentials
from yarl import URL

from validator.net.sdk_session import transport_failure

Newest = Callable[[], Awaitable[tuple[str, str, str]]]
"""Access key, secret key and session token, as they are now."""


def new_session(newest: Newest) -> AioSession:
    """A session that signs with `newest` and knows no profile, no credential file and no client-side monitoring."""
    session = AioSession()
    overrides = {"config_file": os.devnull, "credentials_file": os.devnull, "profile": None, "csm_enabled": False}
    for variable, value in overrides.items():
        session.get_component("config_store").set_config_variable(variable, value)
    session.register_component("credential_provider", _Provider(newest))
    return session


async def s3_client(
    session: AioSession, http: aiohttp.ClientSession, region: str, endpoint: str | None, *, path_style: bool
) -> Any:
    """A client of S3; whoever has it calls its `close`."""
    config = _config(http, s3={"addressing_style": "path" if path_style else "auto"})
    context = session.create_client("s3", region_name=region, endpoint_url=endpoint, config=config)
    client = await context.__aenter__()
    client.meta.events.register("before-call.s3", _stay_in_region)
    return client


def sts_client(
    session: AioSession, http: aiohttp.ClientSession, region: str, endpoint: str | None, signed: Mapping[str, str]
) -> Any:
    """A context with a client of STS: with the keys in `signed`, or without a signature where there are none."""
    config = _config(http) if signed else _config(http, signature_version=UNSIGNED)
    return session.create_client("sts", region_name=region, endpoint_url=endpoint, config=config, **signed)


def _config(http: aiohttp.ClientSession, **options: Any) -> AioConfig:
    """One try, our session, no endpoint or mode from the environment."""
    return AioConfig(
        http_session_cls=_session_class(http),
        retries={"total_max_attempts": 1, "mode": "standard"},
        ignore_configured_endpoint_urls=True,
        defaults_mode="legacy",  # `auto` would ask the node's metadata for a region
        account_id_endpoint_mode="disabled",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        proxies={},
        user_agent_extra="muster",
        **options,
    )


def _stay_in_region(params: dict[str, Any], **_: Any) -> None:
    """The SDK goes on in another region by itself after a redirect; a wrong region is to be told, not hidden."""
    params["context"].setdefault("s3_redirect", {})["redirected"] = True


class _Newest(AioCredentials):  # type: ignore[misc] # the SDK has no types
    """Credentials that are looked up whenever something is signed."""

    def __init__(self, newest: Newest) -> None:
        super().__init__("unused", "unused", method="muster")
        self._newest = newest

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials(*await self._newest())


class _Provider:
    """What the SDK's chain of credential providers is replaced by."""

    def __init__(self, newest: Newest) -> None:
        self._credentials = _Newest(newest)

    async def load_credentials(self) -> AioCredentials:
        return self._credentials


def _session_class(http: aiohttp.ClientSession) -> type:
    """What `AioConfig(http_session_cls=…)` takes: sends everything through `http`, which it does not own."""

    class SharedSession:
        def __init__(self, **_: Any) -> None:
            """Timeouts, proxies, certificates: all are the shared session's."""

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            await self.close()

        async def close(self) -> None:
            """The shared session stays open."""

        async def send(self, request: Any) -> AioAWSResponse:
            headers = {name: _text(value) for name, value in request.headers.items()}
            headers.pop("Expect", None)  # of 64 bytes; aiohttp would wait for the 100 that some stores never send
            try:
                response = await http.request(
                    request.method,
                    URL(request.url, encoded=True),
                    headers={**headers, "Accept-Encoding": "identity"},
                    data=request.body,
                    skip_auto_headers={"Content-Type"},
                    allow_redirects=False,
                    middlewares=(),  # a redirect of S3 says in which region the bucket is
                )
                if not request.stream_output:
                    await response.read()
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise transport_failure(error, urlsplit(request.url).hostname or "") from error
            seen = {name.lower(): value for name, value in response.headers.items()}
            return AioAWSResponse(str(response.url), response.status, seen, response)

    return SharedSession


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
