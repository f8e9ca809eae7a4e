"""Whatever a kubeconfig or list holds, reading it ends in sightings and problems, and raises nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.kubeconfigs import cluster, write
from validator.credentials import CredentialError
from validator.discovery.fields import FieldError, Fields, Origin
from validator.discovery.kubeconfig_sightings import parse_foreign_kubeconfig
from validator.discovery.source import Reading
from validator.discovery.static import StaticSource
from validator.discovery.user_fields import user_spec

Tree = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.sampled_from(["a", "eA==", "https://a", "v1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)

CLUSTER_KEYS = [*cluster(), "certificate-authority", "tls-server-name", "insecure-skip-tls-verify", "proxy-url"]
USER_KEYS = ["token", "tokenFile", "client-certificate-data", "client-key-data", "client-key", "exec", "as"]
EXEC_KEYS = ["apiVersion", "command", "args", "env", "installHint", "provideClusterInfo", "interactiveMode"]


def fields(keys: list[str], usual: dict[str, object]) -> st.SearchStrategy[dict[str, object]]:
    """The usual fields, some of them replaced by anything."""
    return st.dictionaries(st.sampled_from(keys), Tree, max_size=2).map(lambda odd: {**usual, **odd})


def check(reading: Reading) -> None:
    for problem in reading.problems:
        assert problem.where.isprintable()
        assert problem.message.isprintable()
        assert problem.remedy
        assert len(problem.message) < 1000
    for sighting in reading.sightings:
        if sighting.credential is not None:
            try:
                asyncio.run(sighting.credential.fetch(0))
            except CredentialError as error:
                assert len(error.message) < 1000  # noqa: PT017 - either outcome is fine


@given(fields(CLUSTER_KEYS, cluster()), fields(USER_KEYS, {"token": "x"}) | Tree, Tree)
def test_any_entry_is_a_sighting_or_a_problem(cluster: object, user: object, context: Any) -> None:
    contexts = [{"name": "a", "context": {"cluster": "a", "user": "a"}}, {"name": "b", "context": context}]
    named = {"clusters": [{"name": "a", "cluster": cluster}], "users": [{"name": "a", "user": user}]}
    reading = parse_foreign_kubeconfig(json.dumps({"contexts": contexts, **named}), "here", "test")
    check(reading)
    told_of = {s.name for s in reading.sightings} | {p.entry for p in reading.problems}
    assert "a" in told_of or not reading.complete


@given(Tree)
def test_any_tree_is_a_reading(tree: object) -> None:
    check(parse_foreign_kubeconfig(json.dumps(tree), "here", "test"))


@given(fields(EXEC_KEYS, {"apiVersion": "client.authentication.k8s.io/v1", "command": "x"}))
def test_any_plugin_is_described_or_refused(plugin: dict[str, object]) -> None:
    try:
        user_spec("user", Fields({"exec": plugin or {"a": "b"}}, Origin("config", Path("/etc"))), {})
    except FieldError as error:
        assert error.message.startswith("exec.")  # noqa: PT017 - either outcome is fine


@given(fields(["server", "credential", "labels", "tls-server-name", "x"], {"server": "https://a"}))
def test_any_static_entry_is_a_sighting_or_a_problem(
    tmp_path_factory: pytest.TempPathFactory, entry: dict[str, object]
) -> None:
    path = write(tmp_path_factory.getbasetemp() / "clusters.yaml", json.dumps({"clusters": [{"name": "a", **entry}]}))
    reading = StaticSource(path)._take().reading
    check(reading)
    assert len(reading.sightings) + len(reading.problems) == 1
