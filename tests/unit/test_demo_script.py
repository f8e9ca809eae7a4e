"""The demo's plot: pure, so whole half-hours of it pass in a moment."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from muster.demo.behaviours import BEHAVIOURS, behaviour_from
from muster.demo.script import Act, Change, Timeline, timeline
from validator.reasons import REASONS, Health

HALF_AN_HOUR_S = 1800.0


def first_half_hour(plot: Timeline) -> list[Change]:
    return list(itertools.takewhile(lambda change: change.at_s < HALF_AN_HOUR_S, plot.changes))


def dead(behaviours: dict[str, str]) -> int:
    reasons = [BEHAVIOURS[name].expect for name in behaviours.values()]
    return sum(r is not None and REASONS[r].health in (Health.UNREACHABLE, Health.UNHEALTHY) for r in reasons)


def replay(plot: Timeline) -> list[dict[str, str]]:
    """The fleet after each change; fails where the plot contradicts itself."""
    state, scenes = dict(plot.initial), []
    for change in first_half_hour(plot):
        name = change.member.name
        match change.act:
            case Act.BEHAVE:
                assert name in state
                state[name] = change.behaviour
            case Act.ROTATE:
                assert state[name] == "old-token-rejected"
                state[name] = "healthy"
            case Act.JOIN:
                assert name not in state
                state[name] = "healthy"
            case Act.LEAVE:
                assert state.pop(name) == "healthy"
        scenes.append(dict(state))
    return scenes


def test_the_same_seed_tells_the_same_story() -> None:
    one, other = timeline(7, 200, 0.3), timeline(7, 200, 0.3)
    assert (one.members, one.initial) == (other.members, other.initial)
    assert first_half_hour(one) == first_half_hour(other)
    assert timeline(8, 200, 0.3).initial != one.initial


def test_the_default_demo_shows_every_reason_at_once_and_all_the_time() -> None:
    plot = timeline(1, 200, 0.3)
    every_reason = {row.expect for row in BEHAVIOURS.values()}
    for scene in [dict(plot.initial), *replay(plot)]:
        assert {BEHAVIOURS[name].expect for name in scene.values()} == every_reason


@pytest.mark.parametrize(("clusters", "share"), [(200, 0.3), (200, 0.0), (50, 0.9), (1000, 0.3), (3, 1.0)])
def test_the_share_of_dead_clusters_is_as_asked_for(clusters: int, share: float) -> None:
    plot = timeline(3, clusters, share)
    assert len(plot.members) == clusters
    assert dead(dict(plot.initial)) == round(clusters * share)


def test_the_share_of_dead_clusters_and_the_size_stay_about_the_same() -> None:
    for scene in replay(timeline(5, 200, 0.3)):
        assert 50 <= dead(scene) <= 90
        assert 199 <= len(scene) <= 201


def test_something_changes_every_few_seconds() -> None:
    instants = [change.at_s for change in first_half_hour(timeline(2, 200, 0.3))]
    assert instants == sorted(instants)
    assert max(later - earlier for earlier, later in itertools.pairwise(instants)) < 10.0


def test_clusters_join_leave_and_rotate_their_tokens() -> None:
    acts = Counter(change.act for change in first_half_hour(timeline(2, 200, 0.3)))
    assert min(acts[Act.JOIN], acts[Act.LEAVE], acts[Act.ROTATE]) >= 10


def test_a_whole_seed_goes_dark_at_once_and_comes_back() -> None:
    changes = first_half_hour(timeline(2, 200, 0.3))
    dark = [change for change in changes if change.at_s == 60.0 and change.behaviour == "full-backlog"]
    assert len(dark) > 3
    assert len({change.member.labels["seed"] for change in dark}) == 1
    back = {change.member.name for change in changes if change.at_s == 105.0 and change.behaviour == "healthy"}
    assert back == {change.member.name for change in dark}


@pytest.mark.parametrize("clusters", [0, 1, 2, 10])
def test_a_tiny_fleet_has_a_plot_too(clusters: int) -> None:
    assert len(replay(timeline(1, clusters, 0.5))) > 10


def test_every_behaviour_of_the_plot_is_in_the_registry() -> None:
    for scene in replay(timeline(4, 60, 0.5)):
        assert set(scene.values()) <= set(BEHAVIOURS)


def test_a_behaviour_can_be_given_its_seconds() -> None:
    assert behaviour_from("slow:0.25").seconds == 0.25
    assert behaviour_from("slow") is BEHAVIOURS["slow"]


@pytest.mark.parametrize("text", ["slo", "", "slow:x", "slow:-1", "slow:0", "slow:1e9", "slow:nan", "slow:1.2.3"])
def test_a_behaviour_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no behaviour is called|number of seconds"):
        behaviour_from(text)
