"""Objects of a cluster's API that have to do with workload identity, as a real one writes them, and their facts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from validator.doctor import parse
from validator.doctor.case import Case
from validator.doctor.facts import AccountName, AccountSeen, ClusterSeen, Unread
from validator.doctor.kubectl import Kubectl

NOW = 1_800_000_000.0
BEFORE, AFTER = NOW - 7200, NOW - 1800
"""Older and younger than the annotations, which are set an hour ago."""
SET = NOW - 3600

CLIENT = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"
TENANT = "aaaaaaaa-2222-3333-4444-555555555555"
ROLE = "arn:aws:iam::123456789012:role/backup/velero"
GOOGLE = "backup@acme-prod.iam.gserviceaccount.com"

AZURE_ISSUER = "https://westeurope.oic.prod-aks.azure.com/aaaa/bbbb/"
EKS_ISSUER = "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF"
GKE_ISSUER = "https://container.googleapis.com/v1/projects/acme-prod/locations/europe-west1/clusters/backup-1"

AZURE_FILE = "/var/run/secrets/azure/wi/token/azure-identity-token"
AWS_FILE = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"
AGENT_FILE = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/eks-pod-identity-token"

AZURE_ENV = {
    "AZURE_CLIENT_ID": CLIENT,
    "AZURE_TENANT_ID": TENANT,
    "AZURE_FEDERATED_TOKEN_FILE": AZURE_FILE,
    "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
}
AWS_ENV = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": AWS_FILE, "AWS_REGION": "eu-west-1"}
AGENT_ENV = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": AGENT_FILE,
}
USE = {"azure.workload.identity/use": "true"}


def stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def account(annotations: dict[str, str] | None = None, *, managed: bool = True, **metadata: Any) -> dict[str, Any]:
    """velero/velero."""
    body: dict[str, Any] = {"name": "velero", "namespace": "velero", "uid": "7b9c34bb", **metadata}
    if annotations:
        body["annotations"] = annotations
        fields: dict[str, Any] = {"f:metadata": {"f:annotations": {".": {}, **{f"f:{key}": {} for key in annotations}}}}
        manager = {"manager": "kubectl-annotate", "operation": "Update", "apiVersion": "v1", "time": stamp(SET)}
        body["managedFields"] = [{**manager, "fieldsType": "FieldsV1", "fieldsV1": fields}] if managed else []
    return {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": body}


def token_volume(path: str, audience: str | None, seconds: int = 3600) -> tuple[dict[str, Any], dict[str, Any]]:
    """Volume and mount of a projected token at `path`."""
    directory, _, name = path.rpartition("/")
    token: dict[str, Any] = {"path": name, "expirationSeconds": seconds}
    if audience is not None:
        token["audience"] = audience
    volume = {"name": "identity-token", "projected": {"sources": [{"serviceAccountToken": token}], "defaultMode": 420}}
    return volume, {"name": "identity-token", "mountPath": directory, "readOnly": True}


def pod(
    name: str = "velero-7d4f9c6b5-x2x4z",
    env: dict[str, str] | None = None,
    *,
    labels: dict[str, str] | None = None,
    created: float = AFTER,
    token: tuple[dict[str, Any], dict[str, Any]] | None = None,
    owner: tuple[str, str] | None = ("ReplicaSet", "velero-7d4f9c6b5"),
    account_name: str = "velero",
    **spec: Any,
) -> dict[str, Any]:
    """A running pod of the Deployment `velero`."""
    volume, mount = token or (None, None)
    container = {
        "name": "velero",
        "image": "velero/velero:v1.18.1",
        "env": [
            {"name": "VELERO_SCRATCH_DIR", "value": "/scratch"},
            {"name": "DATABASE_PASSWORD", "value": "canary-of-a-password"},
            *({"name": key, "value": value} for key, value in (env or {}).items()),
        ],
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}, *([mount] if mount else [])],
    }
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "velero",
        "creationTimestamp": stamp(created),
        "labels": {"app": "velero", "pod-template-hash": "7d4f9c6b5", **(labels or {})},
    }
    if owner:
        controller = {"apiVersion": "apps/v1", "kind": owner[0], "name": owner[1], "uid": "u", "controller": True}
        metadata["ownerReferences"] = [controller]
    return {
        "metadata": metadata,
        "spec": {
            "serviceAccountName": account_name,
            "nodeName": "node-1",
            "volumes": [{"name": "scratch", "emptyDir": {}}, *([volume] if volume else [])],
            "containers": [container],
            **spec,
        },
        "status": {"phase": "Running", "startTime": stamp(created)},
    }


def azure_pod(**changes: Any) -> dict[str, Any]:
    """As azure-workload-identity 1.6 leaves it."""
    good = {"env": AZURE_ENV, "labels": USE, "token": token_volume(AZURE_FILE, "api://AzureADTokenExchange")}
    return pod(**{**good, **changes})


def irsa_pod(**changes: Any) -> dict[str, Any]:
    """As EKS's webhook leaves it."""
    good = {"env": AWS_ENV, "token": token_volume(AWS_FILE, "sts.amazonaws.com", 86400)}
    return pod(**{**good, **changes})


def agent_pod(**changes: Any) -> dict[str, Any]:
    """As EKS Pod Identity leaves it."""
    good = {"env": AGENT_ENV, "token": token_volume(AGENT_FILE, "pods.eks.amazonaws.com", 86400)}
    return pod(**{**good, **changes})


def webhook(name: str = "mutation.azure-workload-identity.io", **fields: Any) -> dict[str, Any]:
    """A MutatingWebhookConfiguration."""
    configuration = {
        "mutation.azure-workload-identity.io": "azure-wi-webhook-mutating-webhook-configuration",
        "iam-for-pods.amazonaws.com": "pod-identity-webhook",
    }.get(name, "some-webhook")
    hook = {"name": name, "failurePolicy": "Ignore", "objectSelector": {}, "namespaceSelector": {}, **fields}
    return {"metadata": {"name": configuration}, "webhooks": [hook]}


def node(labels: dict[str, str] | None = None, provider: str = "", name: str = "node-1") -> dict[str, Any]:
    """A node."""
    metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}}
    return {"kind": "Node", "apiVersion": "v1", "metadata": metadata, "spec": {"providerID": provider}}


def case(
    service_account: dict[str, Any] | Unread,
    pods: list[dict[str, Any]] | Unread = (),  # type: ignore[assignment]
    *,
    webhooks: list[dict[str, Any]] | Unread = (),  # type: ignore[assignment]
    nodes: list[dict[str, Any]] | Unread = (),  # type: ignore[assignment]
    issuer: str | Unread = AZURE_ISSUER,
    namespace: dict[str, str] | Unread | None = None,
    cluster: str = "prod",
) -> Case:
    """The facts of these objects, through the same reading as those of a real server."""
    seen = AccountSeen(
        AccountName("velero", "velero"),
        service_account if isinstance(service_account, Unread) else parse.account_of(service_account),
        pods
        if isinstance(pods, Unread)
        else tuple(found for each in pods if (found := parse.pod_of(each, "velero")) is not None),
        True,
        nodes if isinstance(nodes, Unread) else tuple(map(parse.node_of, nodes)),
        {"kubernetes.io/metadata.name": "velero"} if namespace is None else namespace,
    )
    hooks = webhooks if isinstance(webhooks, Unread) else tuple(w for each in webhooks for w in parse.webhooks_of(each))
    return Case(cluster, seen, ClusterSeen(issuer, hooks), NOW, Kubectl(cluster))
