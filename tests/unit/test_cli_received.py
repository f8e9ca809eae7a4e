"""What a receiver shows of an organisation: the worst first, health over time, and nothing that nobody told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from muster.cli.render.received import ROWS, org_lines
from muster.cli.render.status import Screen
from muster.cli.render.strip import strip, worst_in_cells
from uplink.receiver.view import Change, Cluster, Installation, LogLine, OrgView

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
AT = NOW.timestamp()
OURS = UUID(int=1)


def a_cluster(uid: str, health: str | None = "Healthy", *, heard_s: float = 5.0, **attributes: Any) -> Cluster:
    heard = AT - heard_s
    return Cluster(uid, OURS, attributes, health, None if health is None else heard, AT - 3600, heard)


def view(*clusters: Cluster, changes: list[Change] | None = None, logs: list[LogLine] | None = None) -> OrgView:
    installation = Installation(OURS, AT - 3600, "5f", AT + 3600, 12, AT - 5)
    return OrgView("acme", 2048, [installation], list(clusters), changes or [], logs or [])


def shown(found: OrgView, width: int = 200, *, wide: bool = False) -> list[str]:
    return [line.plain for line in org_lines(found, NOW, Screen(width, colour=False), wide=wide)]


def test_a_cell_shows_the_worst_of_its_while() -> None:
    changes = [(10.0, "Healthy"), (24.0, "Unhealthy"), (26.0, "Healthy")]
    healths = worst_in_cells(changes, 39.0, 0.0, 50.0, 5)
    assert healths == [None, "Healthy", "Unhealthy", "Healthy", None]
    assert strip(healths, colour=False).plain == "·✔✖✔·"


def test_a_change_from_before_the_picture_fills_it_from_its_edge() -> None:
    assert worst_in_cells([(-100.0, "Degraded")], 20.0, 0.0, 20.0, 2) == ["Degraded", "Degraded"]
    assert worst_in_cells([], 20.0, 0.0, 20.0, 2) == [None, None]
    assert worst_in_cells([(5.0, "Healthy")], 5.0, 5.0, 5.0, 2) == ["Healthy", None], "a while of nothing"


def test_the_worst_comes_first_with_since_when_and_how_it_was() -> None:
    changes = [Change("bad", "Unreachable", AT - 600), Change("bad", "Healthy", AT - 3600)]
    found = view(a_cluster("good"), a_cluster("bad", "Unreachable", driver="gardener"), changes=changes)
    lines = shown(found)
    (bad,) = (number for number, line in enumerate(lines) if line.startswith("bad"))
    (good,) = (number for number, line in enumerate(lines) if line.startswith("good"))
    assert bad < good
    assert "○ Unreachable  10 min  ✔✔✔✔" in lines[bad]
    assert "○○○○" in lines[bad]
    assert "driver=gardener" in lines[bad]
    assert "○ 1 unreachable   ✔ 1 healthy" in lines


def test_health_that_nobody_told_of_is_not_green() -> None:
    lines = shown(view(a_cluster("new", None), a_cluster("old", heard_s=1800.0)))
    (new,) = (line for line in lines if line.startswith("new"))
    (old,) = (line for line in lines if line.startswith("old"))
    assert "not told" in new
    assert "✔" not in new
    assert "✔····" in old, "not past the moment in which it was heard of last"


def test_silence_is_said() -> None:
    assert any("Nothing was heard of them for 30 min" in line for line in shown(view(a_cluster("a", heard_s=1800.0))))
    assert not any("Nothing was heard" in line for line in shown(view(a_cluster("a"))))


def test_what_does_not_fit_is_counted_or_cut_and_wide_has_all() -> None:
    many = view(*(a_cluster(f"{n:036}", "Degraded" if n % 2 else "Healthy") for n in range(ROWS + 5)))
    lines = shown(many, width=80)
    assert any(line.startswith("… and ✔ 5 healthy") for line in lines)
    assert max(map(len, lines)) <= 80
    for number in range(ROWS + 5):
        assert any(line.startswith(f"{number:036}") for line in shown(many, wide=True))


def test_records_are_told_by_what_became_of_what() -> None:
    told = {"from": "Healthy", "to": "Unhealthy", "reason": "NotReady", "flapping": False, "muster.cluster.id": "uid-1"}
    logs = [
        LogLine(AT - 3, "ERROR", "muster.transition", "", told),
        LogLine(AT - 4, "WARN", "disk.full", "\x1b[31mno room", {"k8s.cluster.uid": "uid-2", "code": 7}),
    ]
    lines = shown(view(a_cluster("a"), logs=logs))
    assert any("3 s ago  uid-1    Healthy → Unhealthy  reason=NotReady" in line for line in lines)
    assert any(r"uid-2    disk.full            \x1b[31mno room code=7" in line for line in lines)


def test_an_organisation_of_which_nothing_was_received_says_what_to_do() -> None:
    lines = shown(OrgView("acme", 0, [], [], [], []))
    assert "muster receiver token create acme" in lines[-1]
