"""An API server that serves the resources of Velero, Stork and the Portworx Operator: documents by path, over TLS."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from muster.demo import answers
from muster.demo.answers import JSON
from muster.demo.behaviours import Behaviour
from muster.demo.replies import Call, Reply

VELERO = "/apis/velero.io/v1/backupstoragelocations"
STORK = "/apis/stork.libopenstorage.org/v1alpha1/backuplocations"
STORK_VERSION = "/api/v1/namespaces/kube-system/configmaps/stork-version"
STORAGE_CLUSTERS = "/apis/core.libopenstorage.org/v1/storageclusters"

Served = Mapping[str, Any]
"""Path -> the document, a list of items, a number (that status) or bytes (the whole body)."""


def group(name: str, *versions: str) -> dict[str, Any]:
    """The answer to `/apis/NAME`."""
    return {
        "kind": "APIGroup",
        "name": name,
        "versions": [{"groupVersion": f"{name}/{v}", "version": v} for v in versions],
    }


class ServedResources:
    """What is served, and what was asked for; `documents` may be changed between two reads."""

    def __init__(self, documents: Served) -> None:
        self.documents = documents
        self.asked: list[str] = []

    @property
    def behaviour(self) -> Behaviour:
        """For a simulated cluster."""
        return Behaviour("resources", "serves custom resources", reply=self._reply)

    def _reply(self, call: Call) -> Reply:
        request = call.request
        path = request.path.decode()
        self.asked.append(path + (f"?{request.query.decode()}" if request.query else ""))
        if request.token != call.server.token:
            return answers.unauthorized(call.at_s)
        served = self.documents.get(path)
        if callable(served):
            reply: Reply = served(call)
            return reply
        match served:
            case None:
                return answers.not_found(call.at_s)
            case 403:
                return answers.forbidden(request.path, call.at_s)
            case int():
                return answers.status_answer(served, "no", call.at_s)
            case bytes():
                return answers.render(200, JSON, served, call.at_s)
            case list():
                body = _page(path, served, request.query.decode())
            case _:
                body = served
        return answers.render(200, JSON, json.dumps(body).encode(), call.at_s)


def _page(path: str, items: Sequence[Any], query: str) -> dict[str, Any]:
    """One page, as the API machinery cuts them."""
    asked = parse_qs(query)
    size, start = int(asked.get("limit", ["500"])[0]), int(asked.get("continue", ["0"])[0])
    kind = {VELERO: "BackupStorageLocationList", STORK: "BackupLocationList", STORAGE_CLUSTERS: "StorageClusterList"}
    end = start + size
    metadata = {"resourceVersion": "1", **({"continue": str(end)} if end < len(items) else {})}
    return {"kind": kind[path], "metadata": metadata, "items": items[start:end]}
