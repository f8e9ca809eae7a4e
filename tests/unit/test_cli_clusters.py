"""`muster clusters`, `cluster` and `history` against the real API on a hub with made-up states."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.support.cli import break_one, made_up, muster
from tests.support.hub import GOOD, MadeUpHub, served
from validator.reasons import Health, Reason


@pytest.fixture
async def hub() -> MadeUpHub:
    return made_up()


@pytest.fixture
def url(hub: MadeUpHub) -> Iterator[str]:
    with served(hub) as url:
        yield url


def test_clusters_end_by_what_is_listed(hub: MadeUpHub, url: str) -> None:
    break_one(hub)
    assert muster("clusters", server=url).exit_code == 1
    assert muster("clusters", "--health", "healthy", server=url).exit_code == 0
    result = muster("clusters", "--health", "unreachable,unhealthy", "--name", "EU", "--source", "static", server=url)
    assert "prod-eu-2" in result.stdout
    assert "prod-eu-1" not in result.stdout
    result = muster("clusters", "--name", "nothing", server=url)
    assert (result.exit_code, result.stdout) == (0, "No cluster matches.\n")


def test_all_clusters_are_listed_however_many_pages_they_take(hub: MadeUpHub, url: str) -> None:
    for number in range(2500):
        hub.put(f"c{number}", hub.answer())
    listed = json.loads(muster("clusters", "-o", "json", server=url).stdout)["clusters"]
    assert len({cluster["id"] for cluster in listed}) == 2501


def test_a_health_that_does_not_exist_ends_with_2(url: str) -> None:
    result = muster("clusters", "--health", "helthy", server=url)
    assert result.exit_code == 2
    assert "did you mean Healthy?" in result.stderr


def test_a_cluster_shows_remedy_stages_and_evidence(hub: MadeUpHub, url: str) -> None:
    break_one(hub)
    result = muster("cluster", "prod-eu-2", server=url)
    assert result.exit_code == 1
    assert "settings of prod-eu-2" in result.stdout
    assert "docs/reasons.md#connecttimeout" in result.stdout
    assert re.search(r"✖ connect +5.0 s .*failed here", result.stdout)
    assert re.search(r"· tls +not reached", result.stdout)
    assert re.search(r"address +10\.0\.0\.2", result.stdout)
    assert "last success never" in result.stdout
    healthy = muster("cluster", "prod-eu-1", server=url)
    assert healthy.exit_code == 0
    assert re.search(r"certificate_expires +2027-06-01T00:00:00Z \(in \d+ d\)", healthy.stdout)
    assert json.loads(muster("cluster", "prod-eu-1", "-o", "json", server=url).stdout)["checks"][0]["evidence"] == GOOD


def test_a_streak_is_shown_before_it_decides(hub: MadeUpHub, url: str) -> None:
    failures = [hub.answer(Reason.TLS_TIMEOUT, ago_s=ago_s) for ago_s in (40, 10)]
    hub.put("prod-eu-1", hub.answer(ago_s=70, evidence=GOOD), *failures, source="other")
    result = muster("clusters", "--source", "other", "-o", "json", server=url)
    cluster_id = json.loads(result.stdout)["clusters"][0]["id"]
    shown = muster("cluster", cluster_id, server=url).stdout
    assert "2 of 3 answers towards Unreachable: the newest is fail (TLSTimeout)" in shown


def test_an_unknown_name_ends_with_2_and_a_suggestion(url: str) -> None:
    result = muster("cluster", "prod-eu-11", server=url)
    assert result.exit_code == 2
    assert "Did you mean prod-eu-1?" in result.stderr


def test_a_name_of_two_clusters_ends_with_2_and_their_ids(hub: MadeUpHub, url: str) -> None:
    other = hub.put("prod-eu-1", hub.answer(), source="kubeconfig")
    result = muster("cluster", "prod-eu-1", server=url)
    assert result.exit_code == 2
    assert str(other) in result.stderr


def test_history_goes_back_as_far_as_is_asked(hub: MadeUpHub, url: str) -> None:
    (cluster_id,) = hub.inventory.clusters
    for _ in range(1500):
        hub.change(cluster_id, Health.HEALTHY, Health.UNREACHABLE, Reason.CONNECT_TIMEOUT)
    lines = muster("history", server=url).stdout.splitlines()
    assert len(lines) == 51
    assert "✔ Healthy → ○ Unreachable  ConnectTimeout" in lines[1]
    changes = json.loads(muster("history", "prod-eu-1", "-n", "1200", "-o", "json", server=url).stdout)["transitions"]
    assert [change["id"] for change in changes] == list(range(1500, 300, -1))
    assert muster("history", "nobody", server=url).exit_code == 2
    hub.history.away = True
    assert muster("history", server=url).exit_code == 3
