"""From the API's objects to facts, field by field. Pure.

A tenant's server writes these objects. So names have to be names by Kubernetes' own rules (they go into commands),
texts are bounded, lists are cut, and of the environment only the variables on the lists below are looked at: a pod's
other variables are secrets more often than not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from validator.doctor.facts import Cloud, Container, Node, Owner, Pod, ServiceAccount, TokenMount, Webhook
from validator.doctor.selector import Expression, Selector
from validator.printable import printable

MAX_TEXT_CHARS = 512
"""Of a value; an ARN and an issuer are shorter."""
MAX_LABELS = 100
MAX_CONTAINERS = 30
MAX_MOUNTS = 60
MAX_WEBHOOKS = 60
"""Of one configuration."""
DEFAULT_LIFETIME_S = 3600
"""Of a projected token without `expirationSeconds` (API reference, `ServiceAccountTokenProjection`)."""

SHOWN = frozenset({
    *("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST"),
    *("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_REGION", "AWS_DEFAULT_REGION"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    "GOOGLE_APPLICATION_CREDENTIALS",
})  # fmt: skip
"""Variables whose values are kept: ids, paths and URLs."""

NAMED = frozenset({"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AWS_ACCESS_KEY_ID"})
"""Variables of which only it is kept that they are there."""

_KEPT = ("/client-id", "/tenant-id", "/role-arn", "/audience", "/gcp-service-account")
"""Ends of the annotations that are kept, whatever their domain: a slip there is what the doctor looks for."""

_SKIPPED = ("azure.workload.identity/skip-containers", "eks.amazonaws.com/skip-containers")

_WEBHOOKS: Mapping[str, Cloud] = {
    "mutation.azure-workload-identity.io": Cloud.AZURE,
    "pod-identity-webhook.azure.mutate.io": Cloud.AZURE,  # OpenShift's
    "pod-identity-webhook.amazonaws.com": Cloud.AWS,
    "iam-for-pods.amazonaws.com": Cloud.AWS,  # EKS's own
    "pod-identity-webhook.aws.mutate.io": Cloud.AWS,  # OpenShift's
}

_NAME = re.compile(r"[a-z0-9]([a-z0-9.:-]{0,251}[a-z0-9])?")
_KIND = re.compile(r"[A-Za-z]{1,63}")
_ISSUER = re.compile(r"https?://[\w.~:/?#\[\]@!&'()*+,;=%-]{1,500}")
_PROVIDER = re.compile(r"[\w:/.-]{1,500}")


def is_name(text: object) -> bool:
    """Whether it can be the name of an object."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def name_of(item: Mapping[str, Any]) -> tuple[str, str]:
    """Namespace and name; empty where they are none."""
    metadata = _mapping(item, "metadata")
    namespace, name = metadata.get("namespace"), metadata.get("name")
    return (str(namespace) if is_name(namespace) else "", str(name) if is_name(name) else "")


def issuer_of(document: Mapping[str, Any]) -> str | None:
    """`issuer` of the OpenID configuration, exactly as written: a slash at its end counts."""
    issuer = document.get("issuer")
    return issuer if isinstance(issuer, str) and _ISSUER.fullmatch(issuer) else None


def account_of(item: Mapping[str, Any]) -> ServiceAccount:
    """A ServiceAccount."""
    metadata = _mapping(item, "metadata")
    kept = {key: value for key, value in _texts(_mapping(metadata, "annotations")) if key.endswith(_KEPT)}
    return ServiceAccount(kept, {key: at for key in kept if (at := _set_at(metadata, key))}, _owner(metadata))


def labels_of(item: Mapping[str, Any]) -> dict[str, str]:
    """An object's labels."""
    return dict(_texts(_mapping(_mapping(item, "metadata"), "labels")))


def pod_of(item: Mapping[str, Any], service_account: str) -> Pod | None:
    """A pod that runs, or will, as the service account; None for any other."""
    metadata, spec = _mapping(item, "metadata"), _mapping(item, "spec")
    if spec.get("serviceAccountName") != service_account or not is_name(metadata.get("name")):
        return None
    if _mapping(item, "status").get("phase") in ("Succeeded", "Failed") or metadata.get("deletionTimestamp"):
        return None
    annotations = _mapping(metadata, "annotations")
    skipped = {name.strip() for key in _SKIPPED for name in re.split("[;,]", str(annotations.get(key) or "")[:2000])}
    tokens = dict(_token_volumes(spec))
    labels = labels_of(item)
    return Pod(
        name=str(metadata["name"]),
        created_at=_moment(metadata.get("creationTimestamp")),
        labels=labels,
        containers=tuple(
            _container(each, tokens)
            for each in _items(spec, "containers", MAX_CONTAINERS)
            if str(each.get("name")) not in skipped
        ),
        owner=_workload(_owner(metadata), labels),
        node=str(spec["nodeName"]) if is_name(spec.get("nodeName")) else "",
        host_network=spec.get("hostNetwork") is True,
    )


def node_of(item: Mapping[str, Any]) -> Node:
    """A node."""
    provider = _mapping(item, "spec").get("providerID")
    found = provider if isinstance(provider, str) and _PROVIDER.fullmatch(provider) else ""
    return Node(name_of(item)[1], labels_of(item), found)


def webhooks_of(item: Mapping[str, Any]) -> Iterator[Webhook]:
    """The webhooks of a MutatingWebhookConfiguration that are known to inject identities."""
    configuration = name_of(item)[1]
    for webhook in _items(item, "webhooks", MAX_WEBHOOKS):
        name = webhook.get("name")
        cloud = _WEBHOOKS.get(name) if isinstance(name, str) else None
        if cloud is not None and configuration:
            yield Webhook(configuration, str(name), cloud, _selector(_mapping(webhook, "namespaceSelector")))


def _container(item: Mapping[str, Any], tokens: Mapping[str, tuple[str, str, int]]) -> Container:
    env = {
        name: _text(variable.get("value")) if name in SHOWN else None
        for variable in _items(item, "env", 1000)
        if isinstance(name := variable.get("name"), str) and (name in SHOWN or name in NAMED)
    }
    name = item.get("name")
    return Container(str(name) if is_name(name) else "", env, tuple(_mounts(item, tokens)))


def _token_volumes(spec: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str, int]]]:
    """Volume -> path within it, audience and lifetime of its projected token."""
    for volume in _items(spec, "volumes", 200):
        for source in _items(_mapping(volume, "projected"), "sources", 50):
            token = source.get("serviceAccountToken")
            path = _text(token.get("path")) if isinstance(token, dict) else None
            if isinstance(token, dict) and path and isinstance(volume.get("name"), str):
                lifetime = token.get("expirationSeconds")
                whole = lifetime if isinstance(lifetime, int) and 0 < lifetime < 2**32 else DEFAULT_LIFETIME_S
                yield volume["name"], (path, _text(token.get("audience")) or "", whole)


def _mounts(container: Mapping[str, Any], tokens: Mapping[str, tuple[str, str, int]]) -> Iterator[TokenMount]:
    for mount in _items(container, "volumeMounts", MAX_MOUNTS):
        volume = mount.get("name")
        token = tokens.get(volume) if isinstance(volume, str) else None
        at = _text(mount.get("mountPath"))
        if token is None or not at:
            continue
        path, audience, lifetime_s = token
        part = _text(mount.get("subPath") or mount.get("subPathExpr"))
        if part is None:
            yield TokenMount(f"{at.rstrip('/')}/{path}", audience, lifetime_s)
        elif part == path:
            yield TokenMount(at, audience, lifetime_s, renewed=False)


def _selector(body: Mapping[str, Any]) -> Selector:
    expressions = (
        Expression(key, str(each.get("operator")), tuple(_strings(each.get("values"))))
        for each in _items(body, "matchExpressions", 50)
        if isinstance(key := each.get("key"), str)
    )
    return Selector(dict(_texts(_mapping(body, "matchLabels"))), tuple(expressions))


def _set_at(metadata: Mapping[str, Any], key: str) -> float | None:
    """The last change by whoever manages the annotation."""
    times = [
        _moment(entry.get("time"))
        for entry in _items(metadata, "managedFields", 50)
        if f"f:{key}" in _mapping(_mapping(_mapping(entry, "fieldsV1"), "f:metadata"), "f:annotations")
    ]
    return max((time for time in times if time is not None), default=None)


def _owner(metadata: Mapping[str, Any]) -> Owner | None:
    for owner in _items(metadata, "ownerReferences", 20):
        kind, name = owner.get("kind"), owner.get("name")
        if owner.get("controller") is True and isinstance(kind, str) and _KIND.fullmatch(kind) and is_name(name):
            return Owner(kind, str(name))
    return None


def _workload(owner: Owner | None, labels: Mapping[str, str]) -> Owner | None:
    """The Deployment above a ReplicaSet: its name is the ReplicaSet's without the hash that the pods carry."""
    digest = labels.get("pod-template-hash")
    if owner and owner.kind == "ReplicaSet" and digest and owner.name.endswith(f"-{digest}"):
        return Owner("Deployment", owner.name.removesuffix(f"-{digest}"))
    return owner


def _mapping(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def _items(body: Mapping[str, Any], key: str, most: int) -> list[Mapping[str, Any]]:
    value = body.get(key)
    return [item for item in value[:most] if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: object) -> Iterable[str]:
    return [text for text in value[:MAX_LABELS] if isinstance(text, str)] if isinstance(value, list) else []


def _texts(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for number, (key, value) in enumerate(body.items()):
        if number < MAX_LABELS and key.isprintable() and len(key) <= MAX_TEXT_CHARS:
            yield key, _text(value) or ""


def _text(value: object) -> str | None:
    """As it is where it is fit to be shown: a blank too many is what the doctor looks for."""
    if not isinstance(value, str):
        return None
    return value if value.isprintable() and len(value) <= MAX_TEXT_CHARS else printable(value, MAX_TEXT_CHARS)


def _moment(value: object) -> float | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
