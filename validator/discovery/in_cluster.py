"""The source `in-cluster`: the cluster that this process runs in, by its pod's service account."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from validator import pem
from validator.credential_sources.factory import CredentialFactory
from validator.credential_sources.spec import CredentialSpec
from validator.discovery.endpoint_fields import endpoint_of
from validator.discovery.fields import FieldError, Fields, Origin
from validator.discovery.read_set import ReadSet
from validator.discovery.source import Reading, Sighting, SourceProblem
from validator.discovery.watch import POLL_S, FileWatch, Taken
from validator.model import Endpoint

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet mounts a pod's token and CA; part of Kubernetes' contract with pods."""


IN_CLUSTER = "in-cluster"
"""The source's usual name, and its cluster's."""


class InClusterSource:
    """One cluster. The token is re-read as the kubelet renews it; the CA is watched."""

    def __init__(
        self,
        name: str = IN_CLUSTER,
        cluster: str = IN_CLUSTER,
        base: Path = SERVICE_ACCOUNT,
        environ: Mapping[str, str] | None = None,
        poll_s: float = POLL_S,
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._base = base
        self._environ = os.environ if environ is None else environ
        spec = CredentialSpec("the pod's service account", token=base / "token")
        self._credential = CredentialFactory(name).make(spec)
        self._watch = FileWatch(name, self._take, poll_s)

    @property
    def name(self) -> str:
        return self._name

    def readings(self) -> AsyncIterator[Reading]:
        return self._watch.readings()

    def _take(self) -> Taken:
        files = ReadSet()
        try:
            reading = Reading((self._sighting(files),))
        except FieldError as error:
            problem = SourceProblem(f"source {self._name}", error.message, error.remedy)
            reading = Reading((), (problem,), complete=False)
        return Taken(reading, files.paths)

    def _sighting(self, files: ReadSet) -> Sighting:
        endpoint = own_api_server(self._environ, self._base, files)
        return Sighting(self._cluster, self._name, endpoint, self._credential)


def own_api_server(environ: Mapping[str, str], base: Path, files: ReadSet) -> Endpoint:
    """Where the API server of a pod's own cluster answers, with the CA that the kubelet mounts. Blocks.

    Raises `FieldError`.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise FieldError(
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set: this is no pod of a cluster",
            "Run Muster in a pod, or use another source (kubeconfig, static).",
        )
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    fields = Fields({"server": server, "certificate-authority": "ca.crt"}, Origin("the pod's environment", base))
    return endpoint_of(fields, files.ca_text, pem.ca_bundle)
