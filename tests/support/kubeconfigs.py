"""Kubeconfigs and static lists for tests: well-formed unless a test says otherwise, with real keys."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import trustme

from validator.discovery.source import Reading, Source

SERVER = "https://10.1.2.3:6443"
"""Never dialled: sources only read."""


@cache
def authority(number: int = 0) -> trustme.CA:
    """A CA; the same number gives the same one."""
    return trustme.CA(organization_name=f"test authority {number}")


def ca_pem(number: int = 0) -> str:
    return authority(number).cert_pem.bytes().decode()


@cache
def client_pair(number: int = 0) -> tuple[str, str]:
    """Certificate and key of a client, PEM."""
    leaf = authority().issue_cert(f"hub-{number}.example")
    return leaf.cert_chain_pems[0].bytes().decode(), leaf.private_key_pem.bytes().decode()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def jwt(**claims: object) -> str:
    """An unsigned token; only its claims are ever looked at."""
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in ({"alg": "none"}, claims)
    )
    return f"{head}.{body}.c2ln"


def cluster(**fields: object) -> dict[str, object]:
    """A cluster's fields; `_` stands for `-`, and None takes a field away."""
    there: dict[str, object] = {"server": SERVER, "certificate-authority-data": b64(ca_pem())}
    there |= {key.replace("_", "-"): value for key, value in fields.items()}
    return {key: value for key, value in there.items() if value is not None}


Lists = dict[str, list[dict[str, object]]]
"""The three lists of a kubeconfig."""


def entry(name: str, user: Mapping[str, object] | None = None, /, **fields: object) -> Lists:
    """Context, cluster and user of one name."""
    return {
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": cluster(**fields)}],
        "users": [{"name": name, "user": {"token": f"token-of-{name}"} if user is None else user}],
    }


def kubeconfig(*entries: Lists) -> str:
    """Entries together, as JSON (which is YAML)."""
    config: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [], "users": []}
    for one in entries:
        for key, items in one.items():
            config[key] += items
    return json.dumps(config, indent=1)


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    """A whole file at once, as a careful tool writes it."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)
    return path


async def first(source: Source) -> Reading:
    """Its first reading."""
    readings = source.readings()
    try:
        async with asyncio.timeout(10):
            return await anext(readings)
    finally:
        await cast("Any", readings).aclose()


class Reader:
    """Reads on, with a deadline."""

    def __init__(self, source: Source) -> None:
        self._readings: AsyncIterator[Reading] = source.readings()

    async def next(self, within_s: float = 5.0) -> Reading:
        async with asyncio.timeout(within_s):
            return await anext(self._readings)

    async def silent(self, for_s: float) -> bool:
        """Whether nothing comes for that long. The last thing to ask: it ends the reading."""
        try:
            async with asyncio.timeout(for_s):
                await anext(self._readings)
        except TimeoutError:
            return True
        return False

    async def close(self) -> None:
        await cast("Any", self._readings).aclose()


PYTHON = sys.executable


def plugin(path: Path, body: str) -> Path:
    """An exec plugin: a Python script. `path` gets a start line and the right to be run."""
    path.write_text(f"#!{PYTHON} -IS\nimport json, os, signal, subprocess, sys, time\n{body}\n")
    path.chmod(0o700)
    return path


def answer(**status: object) -> str:
    """A line of a plugin that prints this status."""
    told = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(json.dumps(told))})"


@contextmanager
def owned_by_another(path: Path) -> Iterator[None]:
    """Only root can give a file away."""
    before = path.stat().st_uid
    os.chown(path, 65534, -1)
    try:
        yield
    finally:
        os.chown(path, before, -1)
