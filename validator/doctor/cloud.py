"""Of which cloud a service account's identity is, where nobody has said so. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from validator.doctor.case import Case
from validator.doctor.facts import Cloud
from validator.doctor.hosts import host_of

_ANNOTATIONS = (
    ("azure.workload.identity/", Cloud.AZURE),
    ("eks.amazonaws.com/", Cloud.AWS),
    ("iam.gke.io/", Cloud.GCP),
)
_VARIABLES = (
    ("AZURE_FEDERATED_TOKEN_FILE", Cloud.AZURE),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", Cloud.AWS),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", Cloud.AWS),
    ("GOOGLE_APPLICATION_CREDENTIALS", Cloud.GCP),
)
_NODES = (("azure:", Cloud.AZURE), ("aws:", Cloud.AWS), ("gce:", Cloud.GCP))
_ISSUERS = (
    (".oic.prod-aks.azure.com", Cloud.AZURE),
    (".amazonaws.com", Cloud.AWS),
    (".amazonaws.com.cn", Cloud.AWS),
    ("container.googleapis.com", Cloud.GCP),
)
_ENDINGS = (
    ("/role-arn", Cloud.AWS),
    ("/gcp-service-account", Cloud.GCP),
    ("/client-id", Cloud.AZURE),
    ("/tenant-id", Cloud.AZURE),
)
"""Of annotations with a misspelt domain."""


def cloud_of(case: Case) -> Cloud | None:
    """By what somebody has set, before what the cluster runs on: an identity may be of another cloud than the nodes."""
    return next(_hints(case), None)


def _hints(case: Case) -> Iterator[Cloud]:
    for start, cloud in _ANNOTATIONS:
        if any(key.startswith(start) for key in case.seen.annotations):
            yield cloud
    for ending, cloud in _ENDINGS:
        if any(key.endswith(ending) for key in case.seen.annotations):
            yield cloud
    for variable, cloud in _VARIABLES:
        if any(pod.has(variable) for pod in case.pods):
            yield cloud
    if any("azure.workload.identity/use" in pod.labels for pod in case.pods):
        yield Cloud.AZURE
    for start, cloud in _NODES:
        if any(node.provider_id.startswith(start) for node in case.nodes):
            yield cloud
    for end, cloud in _ISSUERS:
        if host_of(case.issuer).endswith(end):
            yield cloud
