"""What an agent takes from its hub, and what it does not."""

from __future__ import annotations

import json
import math
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.support.clouds import bucket
from tests.support.hub_double import CLUSTER, location_document
from validator.agent import wire
from validator.agent.fields import WireError
from validator.agent.wire import Assignment, Refused, RequestKind, read_assignment, read_told
from validator.locations import Location, Provider

S3 = bucket(Provider.S3)


def document(*locations: Any, **changes: Any) -> bytes:
    usual = {
        "version": "v1",
        "hub_id": str(uuid4()),
        "now": 1_800_000_000.0,
        "cluster": {"id": str(CLUSTER), "name": "c1"},
        "interval_s": 900,
        "timeout_s": 30,
        "heartbeat_s": 30,
        "locations": [location_document(each) if isinstance(each, Location) else each for each in locations],
        "requests": [],
    }
    return json.dumps(usual | changes).encode()


def read(*locations: Any, **changes: Any) -> Assignment:
    return read_assignment(document(*locations, **changes), CLUSTER)


def test_a_location_arrives_as_it_was_sent() -> None:
    found = read(S3, requests=[{"id": str(uuid4()), "kind": "sync", "location_id": str(S3.id)}], new_field={"x": 1})
    assert found.locations == (S3,)
    assert (found.version, found.pacing.interval_s, found.problems) == ("v1", 900.0, ())
    assert [(each.kind, each.location_id) for each in found.requests] == [(RequestKind.SYNC, S3.id)]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"version": None}, "version is no text"),
        ({"version": "v" * 65}, "version is longer than 64"),
        ({"version": "a\x1b[2J"}, "version holds control characters"),
        ({"interval_s": 0}, "interval_s is not between 1 and"),
        ({"interval_s": True}, "interval_s is no number"),
        ({"timeout_s": "30"}, "timeout_s is no number"),
        ({"timeout_s": 901}, "timeout_s is not between"),
        ({"heartbeat_s": math.nan}, "heartbeat_s is no number"),
        ({"cluster": {"id": str(uuid4())}}, "cluster.id is another cluster's"),
        ({"cluster": []}, "cluster is no object"),
        ({"cluster": {"id": "me"}}, "cluster.id is no UUID"),
        ({"locations": {}}, "locations is no list"),
        ({"locations": [{}] * 1001}, "locations has 1001 entries; 1000 are the most"),
        ({"requests": [{}] * 201}, "requests has 201 entries; 200 are the most"),
    ],
)
def test_a_document_that_makes_no_sense_is_refused_and_the_field_named(changes: dict[str, Any], names: str) -> None:
    with pytest.raises(WireError, match=names.replace(".", r"\.")):
        read(**changes)


@pytest.mark.parametrize("body", [b"", b"\xff\x00", b"[]", b"null", b'{"a":', b"[" * 100_000])
def test_garbage_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        read_assignment(body, CLUSTER)


def test_what_is_wrong_with_one_entry_stands_in_nobodys_way() -> None:
    found = read(17, {"id": "x"}, S3, requests=[{"id": 1}, {"id": str(uuid4()), "kind": "burn"}])
    assert found.locations == (S3,)
    assert found.requests == ()
    assert [each.split(" is ")[0] for each in found.problems] == [
        "locations.0",
        "locations.1.id",
        "requests.0.id",
        "requests.1.kind burn",
    ]


@pytest.mark.parametrize(
    ("changes", "reason", "says"),
    [
        ({"authority": "https://evil.example"}, "EndpointRefused", "authority"),
        ({"sts_endpoint": "https://evil.example"}, "EndpointRefused", "sts_endpoint"),
        ({"environment": "https://evil.example"}, "EndpointRefused", "environment"),
        ({"provider": "nfs"}, "InvalidLocationName", "nfs is none of azure, s3, gcs"),
        ({"container": 7}, "InvalidLocationName", "container is no text"),
        ({"region": "x" * 501}, "InvalidLocationName", "region is longer than 500"),
        ({"path_style": "yes"}, "InvalidLocationName", "path_style is neither true nor false"),
    ],
)
def test_a_location_that_is_not_asked_about_says_why(changes: dict[str, Any], reason: str, says: str) -> None:
    (refused,) = read(location_document(S3, **changes)).locations
    assert isinstance(refused, Refused)
    assert (refused.id, refused.why.reason) == (S3.id, reason)
    assert says in refused.why.message
    assert "evil" not in refused.why.message.replace("https://evil.example is none of", "")


def test_the_hubs_answer_is_read_with_patience() -> None:
    assert read_told(b'{"accepted":3,"refused":[],"duplicate":true,"assignment":"v"}') == wire.Told(3, (), True)
    told = read_told(b'{"accepted":0,"refused":[{"index":4,"why":"not assigned"}]}')
    assert told.refused == ("4: not assigned",)
    assert read_told(b"\xff").refused == ("the answer is no JSON",)


def test_text_that_no_encoding_has_still_travels() -> None:
    sync = wire.SyncReport(UUID(int=1), UUID(int=2), wire.SyncState.FAILED, message="\ud800")
    assert json.loads(wire.sync_json(sync))["message"] == "?"
