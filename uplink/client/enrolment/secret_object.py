"""One Secret at the API server: read it, replace it as it was read, make it.

Answers are believed as far as they are checked here. Nothing that the server writes gets into a text of ours: it sees
the key, and real ones quote the request in their refusals (a 400 has the bytes around what it could not read).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from uplink.client.enrolment.own_cluster import Talk, Unanswered
from uplink.client.enrolment.secret_name import SecretName
from validator.net.http1 import HttpAnswer

LABEL: Final = "muster/holds"
LABEL_VALUE: Final = "telemetry-keys"
"""Without this label a Secret is somebody else's, whatever its name is."""

MANIFEST: Final = "deploy/kubernetes/telemetry-secret.yaml"
MAX_VERSION_CHARS: Final = 100
"""Of a resourceVersion; real ones have 20 at most."""

_HINTS: Final = {
    401: "It does not accept the pod's token: its service account is gone, or another API server answers",
    413: "Something before it takes no bodies of this size",
    422: "Perhaps the Secret is immutable: delete it, and make it anew",
    429: "It is busy; this is tried again",
}


@dataclass(frozen=True, slots=True)
class Held:
    """As it was read."""

    body: Mapping[str, Any] = field(repr=False)

    @property
    def ours(self) -> bool:
        """Whether it carries the label."""
        return _texts(self._metadata, "labels").get(LABEL) == LABEL_VALUE

    def annotation(self, name: str) -> str:
        """Empty where there is none."""
        return _texts(self._metadata, "annotations").get(name, "")

    def has(self, key: str) -> bool:
        """Whether there is something under this key, an empty text included."""
        return key in _texts(self.body, "data")

    def content(self, key: str) -> bytes | None:
        """Raises ValueError for what is no base64."""
        text = _texts(self.body, "data").get(key)
        if not text:
            return None
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error:
            raise ValueError("is no base64") from None

    def with_content(self, key: str, content: bytes) -> Held:
        """The same with this under the key."""
        return self._with("data", {**_texts(self.body, "data"), key: base64.b64encode(content).decode()})

    def without(self, key: str) -> Held:
        """The same with nothing under the key."""
        return self._with("data", {name: text for name, text in _texts(self.body, "data").items() if name != key})

    def annotated(self, name: str, text: str) -> Held:
        """The same with this annotation."""
        annotations = {**_texts(self._metadata, "annotations"), name: text}
        return self._with("metadata", {**self._metadata, "annotations": annotations})

    @property
    def version(self) -> str:
        """Its resourceVersion."""
        return _text(self._metadata, "resourceVersion")

    @property
    def written(self) -> bytes:
        """With uid and resourceVersion: the server takes it only while the Secret is still the one that was read.

        Without `managedFields`: the server then goes on with its own.
        """
        metadata = {name: value for name, value in self._metadata.items() if name != "managedFields"}
        return json.dumps({**self.body, "metadata": metadata}).encode()

    @property
    def _metadata(self) -> Mapping[str, Any]:
        metadata: Mapping[str, Any] = self.body["metadata"]
        return metadata

    def _with(self, name: str, value: Mapping[str, Any]) -> Held:
        return Held({**self.body, name: value})


class SecretObject:
    """By its name, through one `Talk`. Errors are `Unanswered`, and say what to do."""

    def __init__(self, name: SecretName, talk: Talk) -> None:
        """Raises `Unanswered` where the namespace is not known."""
        namespace = name.namespace or talk.namespace
        if not namespace:
            raise Unanswered("the pod's namespace is not known: write NAMESPACE/NAME in telemetry_secret")
        self._name = SecretName(name.name, namespace)
        self._talk = talk
        self._all = f"/api/v1/namespaces/{namespace}/secrets"
        self._path = f"{self._all}/{name.name}"

    async def get(self) -> Held | None:
        """None: there is none."""
        answer = await self._talk.ask("GET", self._path)
        match answer.status:
            case 200:
                return self._held(answer)
            case 404 if self._is_not_found(answer):
                return None
            case _:
                raise self._refused("get", answer.status)

    async def replace(self, after: Held) -> Held | None:
        """None: it is not the one any more that was read. Read it again."""
        answer = await self._talk.ask("PUT", self._path, after.written)
        match answer.status:
            case 200:
                return self._held(answer)
            case 409:
                return None
            case 404 if self._is_not_found(answer):
                return None
            case _:
                raise self._refused("update", answer.status)

    async def create(self) -> Held | None:
        """Without content. None: somebody else has made one meanwhile."""
        metadata = {"name": self._name.name, "namespace": self._name.namespace, "labels": {LABEL: LABEL_VALUE}}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque"}
        answer = await self._talk.ask("POST", self._all, json.dumps(body).encode())
        match answer.status:
            case 201:
                return self._held(answer)
            case 409:
                return None
            case _:
                raise self._refused("create", answer.status)

    def _held(self, answer: HttpAnswer) -> Held:
        body = _json(answer)
        metadata = body.get("metadata")
        if body.get("kind") == "Secret" and isinstance(metadata, dict):
            held = Held(body)
            named = (metadata.get("namespace"), metadata.get("name")) == (self._name.namespace, self._name.name)
            if named and 0 < len(held.version) <= MAX_VERSION_CHARS:
                return held
        raise Unanswered(f"what answers at {self._talk.where} gives no such Secret: it is no API server")

    def _is_not_found(self, answer: HttpAnswer) -> bool:
        """Whether it is the API's word on this Secret, and not that of something else that has no such page."""
        body = _json(answer)
        details = body.get("details")
        return (
            (body.get("kind"), body.get("reason")) == ("Status", "NotFound")
            and isinstance(details, dict)
            and (details.get("kind"), details.get("name")) == ("secrets", self._name.name)
        )

    def _refused(self, verb: str, status: int) -> Unanswered:
        name, namespace = self._name.name, self._name.namespace
        if status == 403 and verb == "create":
            return Unanswered(
                f"there is none, and the API server forbids to create it (403). Make it beforehand, empty and with "
                f"the label {LABEL}={LABEL_VALUE} ({MANIFEST}); or allow the pod's service account the verb create on "
                f"secrets in the namespace {namespace}. Where it has that, a quota or an admission policy says no"
            )
        if status == 403:
            return Unanswered(
                f"the API server forbids to {verb} it (403). Allow the pod's service account the verbs get and update "
                f"on secrets with the resourceName {name} in the namespace {namespace} ({MANIFEST}). Where it has "
                "them, an admission policy says no"
            )
        if status == 404 and verb == "create":
            return Unanswered(f"there is no namespace {namespace} (404 to create)")
        hint = _HINTS.get(status, "It is in trouble; this is tried again" if status >= 500 else "No API server does so")
        return Unanswered(f"the API server answers {status} to {verb}. {hint}")


def _json(answer: HttpAnswer) -> dict[str, Any]:
    """Empty for what is no object."""
    try:
        body = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _texts(body: Mapping[str, Any], name: str) -> dict[str, str]:
    found = body.get(name)
    return {key: text for key, text in found.items() if isinstance(text, str)} if isinstance(found, dict) else {}


def _text(body: Mapping[str, Any], name: str) -> str:
    found = body.get(name)
    return found if isinstance(found, str) else ""
