"""What the doctor asks of a cluster: about a dozen GETs, none of which changes anything or reads a secret.

In order: the service account, its namespace, its pods, their nodes, the webhooks, the issuer. Without the first there
is nothing to judge, so its failure is the failure of all; any other that can't be read is an `Unread` in the facts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from validator.cluster_api.reader import ClusterReader, Refused, segments
from validator.doctor import parse
from validator.doctor.facts import AccountName, AccountSeen, ClusterSeen, Node, Pod, ServiceAccount, Unread, Webhook
from validator.net.failure import ProbeFailure
from validator.reasons import Reason

MAX_PODS = 200
"""Of one service account; what is wrong with one of them is wrong with its owner."""
MAX_NODES = 5
"""Of those pods: nodes are large (50 KB), and of one kind more often than not."""
MAX_CONFIGURATIONS = 200
"""Webhook configurations; a busy cluster has 50."""

BACKUP_ACCOUNTS = ("muster-agent", "stork", "stork-account", "velero", "velero-server")
"""Who asks about backup locations from within a cluster: our agent, Stork (Operator's and standalone), Velero (its
CLI's and its chart's)."""

_T = TypeVar("_T")


async def backup_accounts(reader: ClusterReader) -> tuple[AccountName, ...]:
    """The service accounts of known backup products, in whatever namespace. Raises `Refused` and `ProbeFailure`."""
    found: set[AccountName] = set()
    for name in BACKUP_ACCOUNTS:
        query = [("fieldSelector", f"metadata.name={name}")]
        for item in (await reader.items("/api/v1/serviceaccounts", "ServiceAccountList", 10, query)).items:
            namespace, itself = parse.name_of(item)
            if namespace and itself == name:
                found.add(AccountName(namespace, name))
    return tuple(sorted(found))


async def see_cluster(reader: ClusterReader) -> ClusterSeen:
    """What is the same for every service account. Raises `ProbeFailure` only where our credential is refused."""
    return ClusterSeen(
        issuer=await _or_unread(lambda: _issuer(reader)), webhooks=await _or_unread(lambda: _webhooks(reader))
    )


async def see_account(reader: ClusterReader, name: AccountName) -> AccountSeen:
    """One service account and what runs as it. Raises `ProbeFailure` where not even the account can be asked for."""
    try:
        account: ServiceAccount | Unread = parse.account_of(
            await reader.get(_in(name, "serviceaccounts", name.name), "ServiceAccount")
        )
    except Refused as refused:
        return AccountSeen(name, _unread(refused))
    labels = await _or_unread(lambda: _namespace_labels(reader, name))
    pods = await _or_unread(lambda: _pods(reader, name))
    if isinstance(pods, Unread):
        return AccountSeen(name, account, pods, namespace_labels=labels)
    found, whole = pods
    nodes = await _or_unread(lambda: _nodes(reader, found))
    return AccountSeen(name, account, found, whole, nodes, labels)


async def _or_unread(read: Callable[[], Awaitable[_T]]) -> _T | Unread:
    try:
        return await read()
    except Refused as refused:
        return _unread(refused)
    except ProbeFailure as failure:
        if failure.reason is Reason.CREDENTIAL_REJECTED:
            raise
        return Unread("", 0, failure.message)


def _unread(refused: Refused) -> Unread:
    return Unread(refused.call, refused.status, refused.message, refused.user)


async def _issuer(reader: ClusterReader) -> str:
    path = "/.well-known/openid-configuration"
    issuer = parse.issuer_of(await reader.get(path, None))
    if issuer is None:
        raise ProbeFailure(Reason.UNEXPECTED_ANSWER, f"the answer to GET {path} names no issuer")
    return issuer


async def _webhooks(reader: ClusterReader) -> tuple[Webhook, ...]:
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    listed = await reader.items(path, "MutatingWebhookConfigurationList", MAX_CONFIGURATIONS)
    found = tuple(webhook for item in listed.items for webhook in parse.webhooks_of(item))
    if not found and not listed.whole:
        raise ProbeFailure(Reason.ANSWER_TOO_LARGE, f"more than {MAX_CONFIGURATIONS} webhook configurations")
    return found


async def _namespace_labels(reader: ClusterReader, name: AccountName) -> dict[str, str]:
    return parse.labels_of(await reader.get(segments("api", "v1", "namespaces", name.namespace), "Namespace"))


async def _pods(reader: ClusterReader, name: AccountName) -> tuple[tuple[Pod, ...], bool]:
    query = [("fieldSelector", f"spec.serviceAccountName={name.name}")]
    listed = await reader.items(_in(name, "pods"), "PodList", MAX_PODS, query)
    pods = (parse.pod_of(item, name.name) for item in listed.items)  # a server may ignore the selector
    return tuple(pod for pod in pods if pod is not None), listed.whole


async def _nodes(reader: ClusterReader, pods: Sequence[Pod]) -> tuple[Node, ...]:
    names = list(dict.fromkeys(pod.node for pod in pods if pod.node))[:MAX_NODES]
    if not names:
        return tuple(parse.node_of(item) for item in (await reader.items("/api/v1/nodes", "NodeList", 1)).items)
    return tuple([parse.node_of(await reader.get(segments("api", "v1", "nodes", name), "Node")) for name in names])


def _in(name: AccountName, *rest: str) -> str:
    return segments("api", "v1", "namespaces", name.namespace, *rest)
