"""A kube-apiserver as far as Secrets go: TLS, tokens, RBAC rules of a manifest, versions and conflicts, misbehaviour.

Headers, `Status` bodies and managedFields are those of a real one (`tests/unit/transcripts`).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from muster.demo.pki import Authority, Certificate
from uplink.client.enrolment.own_cluster import OwnCluster

NAMESPACE, NAME = "muster", "muster-telemetry"
PATH = f"/api/v1/namespaces/{NAMESPACE}/secrets"
USER = f"system:serviceaccount:{NAMESPACE}:muster"
LABELS = {"muster/holds": "telemetry-keys"}
BOTH = [{"verbs": ["get", "update"], "resources": ["secrets"], "resourceNames": [NAME]}]
CREATE = [{"verbs": ["create"], "resources": ["secrets"]}]

Json = dict[str, Any]
Answer = tuple[int, Json]
Prank = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


@dataclass
class SecretServer:
    """What it holds, what it was asked, and what a test has it do to the next requests."""

    pod: Path
    """token, ca.crt and namespace, as the kubelet mounts them."""
    rules: list[Json] = field(default_factory=lambda: [*BOTH, *CREATE])
    token: str = "canary-service-account-token"
    port: int = 0
    secrets: dict[str, Json] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    """Of them, those that no side has ended."""
    before: Callable[[str], None] = lambda _: None
    """Called with the method before a request takes effect: another writer."""
    pranks: dict[str, Prank] = field(default_factory=dict)
    """By method: what comes instead of an answer."""
    held_up: dict[str, asyncio.Event] = field(default_factory=dict)
    """By method: the next request takes effect only then, also if its client has gone."""
    done: list[tuple[str, int]] = field(default_factory=list)
    _version: int = 512

    @property
    def environ(self) -> dict[str, str]:
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}

    @property
    def cluster(self) -> OwnCluster:
        return OwnCluster(self.pod, self.environ)

    # -- for tests

    def put(self, labels: Json | None = None, **data: bytes) -> Json:
        """Somebody makes or replaces the Secret; a key is `identity` for `identity.json`."""
        kept = {f"{key}.json": base64.b64encode(value).decode() for key, value in data.items()}
        metadata = {"name": NAME, "namespace": NAMESPACE, "labels": LABELS if labels is None else labels}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": kept}
        if not kept:
            del body["data"]
        self.secrets[NAME] = self._stored(body, str(uuid4()))
        return self.secrets[NAME]

    def document(self, key: str = "identity.json") -> bytes | None:
        text = self.secrets.get(NAME, {}).get("data", {}).get(key)
        return None if text is None else base64.b64decode(text)

    # -- what it does

    def answer(self, method: str, target: str, head: str, body: bytes) -> Answer:
        name = target.removeprefix(PATH).strip("/")
        verb = {"GET": "get", "PUT": "update", "POST": "create", "DELETE": "delete"}[method]
        if f"Authorization: Bearer {self.token}\r\n" not in head:
            return _status(401, "Unauthorized", "Unauthorized")
        if not target.startswith(PATH) or not any(_allows(rule, verb, name) for rule in self.rules):
            what = f'cannot {verb} resource "secrets" in API group "" in the namespace "{NAMESPACE}"'
            return _status(403, "Forbidden", f'secrets "{name}" is forbidden: User "{USER}" {what}', name)
        self.before(method)
        if method == "POST":
            return self._create(json.loads(body))
        if name not in self.secrets:
            return _status(404, "NotFound", f'secrets "{name}" not found', name)
        return (200, self.secrets[name]) if method == "GET" else self._update(name, json.loads(body))

    def _create(self, body: Json) -> Answer:
        name = body["metadata"]["name"]
        if name in self.secrets:
            return _status(409, "AlreadyExists", f'secrets "{name}" already exists', name)
        self.secrets[name] = self._stored(body, str(uuid4()))
        return 201, self.secrets[name]

    def _update(self, name: str, body: Json) -> Answer:
        held = self.secrets[name]
        if not body.get("data"):
            body.pop("data", None)  # as protobuf keeps it
        sent, live = body["metadata"], held["metadata"]
        for text in body.get("data", {}).values():
            base64.b64decode(text, validate=True)
        if sent.get("uid", live["uid"]) != live["uid"]:
            return _status(409, "Conflict", "Precondition failed: UID in precondition", name)
        if sent.get("resourceVersion", live["resourceVersion"]) != live["resourceVersion"]:
            text = "the object has been modified; please apply your changes to the latest version and try again"
            return _status(409, "Conflict", f'Operation cannot be fulfilled on secrets "{name}": {text}', name)
        if held.get("immutable"):
            return _status(422, "Invalid", f"data: Forbidden: {json.dumps(body['data'])[:200]} is immutable", name)
        unchanged = {**body, "metadata": {**sent, "managedFields": live["managedFields"]}} == held
        if not unchanged:  # what changes nothing writes nothing, and raises no version
            self.secrets[name] = self._stored(body, live["uid"])
        return 200, self.secrets[name]

    def _stored(self, body: Json, uid: str) -> Json:
        self._version += 1
        managed = {"manager": "muster", "operation": "Update", "apiVersion": "v1", "time": "2026-11-21T03:11:09Z"}
        metadata = {
            **body["metadata"],
            "uid": uid,
            "resourceVersion": str(self._version),
            "creationTimestamp": "2026-11-21T03:09:35Z",
            "managedFields": [{**managed, "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}],
        }
        return {**body, "metadata": metadata}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                method, target, _ = head.split(" ", 2)
                lengths = [line[15:] for line in head.split("\r\n") if line.startswith("Content-Length:")]
                body = await reader.readexactly(int(lengths[0])) if lengths else b""
                self.asked.append(method)
                self.bodies.append(body)
                if (prank := self.pranks.get(method)) is not None:
                    await prank(writer)
                    return
                if (event := self.held_up.pop(method, None)) is not None:
                    await event.wait()
                code, answer = self.answer(method, target, head, body)
                self.done.append((method, code))
                writer.write(rendered(code, json.dumps(answer).encode()))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            writer.transport.abort()


def rendered(code: int, body: bytes, *more: str) -> bytes:
    """An answer with the headers of a real one."""
    lines = [
        f"HTTP/1.1 {code} X",
        "Audit-Id: 535e5f8f-6375-46fc-8b08-cfac612aa8b5",
        "Cache-Control: no-cache, private",
        "Content-Type: application/json",
        "X-Kubernetes-Pf-Flowschema-Uid: 3a571e3f-45b9-41fe-ac80-d11b1daaa629",
        "Date: Sat, 21 Nov 2026 03:11:09 GMT",
        f"Content-Length: {len(body)}",
        *more,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def _status(code: int, reason: str, message: str, name: str = "") -> Answer:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    details = {"details": {"name": name, "kind": "secrets"}} if name else {}
    return code, {**body, "reason": reason, **details, "code": code}


def _allows(rule: Json, verb: str, name: str) -> bool:
    """As RBAC judges; a create has no name, so a rule with names never allows one."""
    names = rule.get("resourceNames")
    wanted = None if verb == "create" else name
    return verb in rule["verbs"] and "secrets" in rule["resources"] and (names is None or wanted in names)


def _mount(pod: Path, files: dict[str, str]) -> None:
    pod.mkdir(exist_ok=True)
    for name, text in files.items():
        (pod / name).write_text(text)


@asynccontextmanager
async def secret_server(pod: Path) -> AsyncIterator[SecretServer]:
    """One that listens on loopback until the block ends, with a pod's files in `pod`."""
    authority = Authority("double", datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    descriptor = os.memfd_create("secret-server")
    try:
        os.write(descriptor, authority.serving(Certificate.GOOD, "127.0.0.1", "api.example").bundle)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    double = SecretServer(pod)
    _mount(pod, {"ca.crt": authority.pem, "token": double.token, "namespace": NAMESPACE})
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await double.serve(reader, writer)
        except asyncio.CancelledError:
            pass  # ours, below: streams of Python 3.11 would report it as an error
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context, limit=2**20)
    double.port = server.sockets[0].getsockname()[1]
    try:
        yield double
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
