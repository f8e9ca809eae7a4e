"""What the uplink is told of a hub, and what of it leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.settings import Settings
from muster.telemetry import HubFacts, OwnCluster, aim_of, make_telemetry
from tests.support.hub import GOOD, MadeUpHub
from uplink.client.consent.record import Endpoints
from uplink.client.consent.streams import Stream
from uplink.client.encoding.facts import VerdictKey
from validator.model import Check, Outcome
from validator.reasons import Health, Reason

CANARY = "hunter2-canary"


@pytest.fixture
def hub() -> MadeUpHub:
    hub = MadeUpHub()
    evidence = {**GOOD, "address": CANARY, "url": f"https://a:{CANARY}@x"}
    good = hub.put(
        f"{CANARY}-eu",
        hub.answer(evidence=evidence),
        source=f"static:{CANARY}.yaml",
        endpoint=f"https://{CANARY}.example.com",
        labels={"token": CANARY},
        also_known_as=[CANARY],
    )
    bad = hub.put("prod-eu-2", hub.answer(Reason.CONNECT_TIMEOUT, message=f"password={CANARY}"))
    hub.put_location("backups", good, bad, container=CANARY)
    hub.change(bad, Health.HEALTHY, Health.UNREACHABLE, Reason.CONNECT_TIMEOUT)
    hub.change(good, Health.UNREACHABLE, Health.HEALTHY, None, ago_s=30)
    return hub


VERDICTS = {(Check.APISERVER, Outcome.FAIL, Reason.CONNECT_TIMEOUT): 3, (Check.APISERVER, Outcome.PASS, None): 5}


async def test_facts_are_those_of_the_picture(hub: MadeUpHub) -> None:
    facts = await HubFacts(hub, lambda: VERDICTS).facts()
    assert facts is not None
    assert sum(facts.fleet.clusters.values()) == 2
    assert sum(facts.fleet.pairs.values()) == 2
    assert facts.verdicts[VerdictKey("apiserver", "fail", "ConnectTimeout")] == 3
    known = {cluster.name: cluster for cluster in facts.clusters}
    assert known[f"{CANARY}-eu"].kubernetes_version == "v1.36.2"
    assert known[f"{CANARY}-eu"].source == "static"
    assert known["prod-eu-2"].reason == "ConnectTimeout"
    assert [location.clusters for location in facts.locations] == [2]


async def test_changes_come_oldest_first_and_go_on_after_an_id(hub: MadeUpHub) -> None:
    source = HubFacts(hub, dict)
    changes = await source.changes(hub.clock.now() - 3600, 0, 100)
    assert [each.id for each in changes] == [1, 2]
    assert [each.id for each in await source.changes(0, 1, 100)] == [2]
    assert [each.id for each in await source.changes(hub.clock.now() - 45, 0, 100)] == [2]


async def test_the_uid_of_the_hubs_own_cluster_is_the_one_that_this_process_has_read(
    hub: MadeUpHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = OwnCluster(hub)
    assert own() is None
    hub.own_uid = "read"
    assert own() == "read"
    hub.own_uid = ""
    monkeypatch.setattr("muster.telemetry.READ_UID_S", 0.0)
    assert own() == "", "it may be forbidden to read it: then it contradicts nothing"


async def test_a_standby_has_no_facts(hub: MadeUpHub) -> None:
    hub.stand_by("another instance leads")
    source = HubFacts(hub, dict)
    assert await source.facts() is None
    assert await source.changes(0, 0, 100) == []


@pytest.mark.parametrize("stream", Stream)
async def test_h27_no_canary_of_the_fleet_is_in_a_batch(hub: MadeUpHub, stream: Stream, tmp_path: Path) -> None:
    preview = await make_telemetry(hub, lambda: VERDICTS, tmp_path / "telemetry", {}).preview(stream)
    assert preview is not None
    assert preview.batch is not None
    assert preview.drops == {}
    assert CANARY.encode() not in preview.batch.raw
    assert b"example.com" not in preview.batch.raw


def test_the_aim_is_that_of_the_settings() -> None:
    def aim(**fields: object) -> object:
        return aim_of(Settings(**fields))  # type: ignore[arg-type]  # fields that there are

    assert aim() == (None, None)
    where = {"telemetry_register_url": "https://R.example/", "telemetry_ingest_url": "https://i.example:443"}
    with pytest.raises(ValueError, match="telemetry_ca_file"):
        aim(**where)
    where["telemetry_ca_file"] = "/etc/muster/telemetry-ca.pem"
    endpoints = Endpoints(register_url="https://r.example", ingest_url="https://i.example")
    assert aim(telemetry_organisation="acme", **where) == ("acme", endpoints)
    with pytest.raises(ValueError, match="go together"):
        aim(telemetry_ingest_url="https://i.example")
    with pytest.raises(ValueError, match="https://host"):
        aim(telemetry_ingest_url="http://i.example", telemetry_register_url="https://i.example")
