"""Storage on this machine, for questions of the hub's own: one that answers as S3 and STS do, and two that hang."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from muster.demo.behaviours import Door
from muster.demo.doors import Doors

ROLE = "arn:aws:iam::123456789012:role/Bench"

ADDRESSES = {"black-hole-accept": ("127.66.0.1", Door.OPEN), "full-backlog": ("127.66.0.2", Door.FULL)}
"""What hangs: one takes the request and never answers, the other drops every SYN."""

_CREDENTIALS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult>
<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/Bench/muster</Arn><AssumedRoleId>A:m</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASIABENCH</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>
<SessionToken>token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""

_LISTED = """<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Name>bucket</Name><KeyCount>0</KeyCount><MaxKeys>1</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>"""

_NO_LOCK = """<?xml version="1.0"?><Error><Code>ObjectLockConfigurationNotFoundError</Code><Message/></Error>"""


@dataclass(frozen=True, slots=True)
class Storage:
    """Endpoints, as a location names them."""

    answering: str
    """Also STS."""
    hanging: Mapping[str, str]
    """By how."""

    @property
    def endpoints(self) -> list[str]:
        """All of them."""
        return [self.answering, *self.hanging.values()]


@asynccontextmanager
async def storage() -> AsyncIterator[Storage]:
    """All endpoints, in this process: what they cost is not the hub's."""
    doors = Doors(asyncio.Protocol)  # which takes connections and what comes, and says nothing
    runner = web.ServerRunner(web.Server(_answer), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        for address, door in ADDRESSES.values():
            await doors.set(address, door)
        hanging = {kind: f"http://{address}:{doors.port}" for kind, (address, _) in ADDRESSES.items()}
        yield Storage(f"http://127.0.0.1:{runner.addresses[0][1]}", hanging)
    finally:
        doors.close()
        await runner.cleanup()


async def _answer(request: web.BaseRequest) -> web.Response:
    """Every bucket is there, and has no object lock."""
    if request.method == "POST":
        return web.Response(text=_CREDENTIALS, content_type="text/xml")
    if request.method == "HEAD":
        return web.Response(headers={"x-amz-bucket-region": "eu-central-1"})
    if "object-lock" in request.query:
        return web.Response(status=404, text=_NO_LOCK, content_type="application/xml")
    return web.Response(text=_LISTED, content_type="application/xml")


def workload_identity(directory: Path) -> dict[str, str]:
    """The variables that the webhook of IRSA injects; the token's signature is nobody's."""
    claims = {"iss": "https://issuer.example", "sub": "system:serviceaccount:muster:muster", "exp": 4_000_000_000}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "RS256"}, claims)]
    file = directory / "token"
    file.write_bytes(b".".join([*parts, b"c2lnbmF0dXJl"]))
    return {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(file), "AWS_REGION": "eu-central-1"}
