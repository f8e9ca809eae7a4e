"""Which sightings are one cluster, what an unreadable source takes away (nothing), and who may be gone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.cluster import SYSTEM_CA, key_of
from collector.reconcile import keep_what_is_unreadable, may_be_gone, merge_sightings
from validator.discovery.source import Reading, Sighting, SourceProblem
from validator.model import Endpoint

CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
OTHER_CA = CA.replace("AAAA", "BBBB")


some_names = st.lists(st.sampled_from("abcdef"), unique=True)


def sighting(name: str, host: str | None = None, ca: str | None = CA, source: str = "kubeconfig") -> Sighting:
    return Sighting(name, source, Endpoint(host or f"{name}.example", 6443, ca))


def reading(*names: str | Sighting, broken: tuple[str, ...] = (), complete: bool = True) -> Reading:
    sightings = tuple(sighting(name) if isinstance(name, str) else name for name in names)
    problems = tuple(SourceProblem(f"file: {name}", "is broken", "Mend it.", entry=name) for name in broken)
    return Reading(sightings, problems, complete)


def names(kept: Reading) -> set[str]:
    return {one.name for one in kept.sightings}


class TestKeys:
    def test_one_endpoint_and_one_ca_are_one_key_whatever_the_whitespace(self) -> None:
        assert key_of(Endpoint("h", 6443, CA)) == key_of(Endpoint("h", 6443, f"\n{CA}\n\n"))

    @pytest.mark.parametrize(
        "other",
        [
            Endpoint("h", 6444, CA),
            Endpoint("i", 6443, CA),
            Endpoint("h", 6443, OTHER_CA),
            Endpoint("h", 6443),
            Endpoint("h", 6443, CA, server_name="tenant-7.example"),
        ],
        ids=["port", "host", "ca", "system's roots", "name to verify"],
    )
    def test_what_makes_another_key(self, other: Endpoint) -> None:
        assert key_of(Endpoint("h", 6443, CA)) != key_of(other)

    def test_the_system_s_roots_have_no_fingerprint(self) -> None:
        assert key_of(Endpoint("h", 6443)).ca_sha256 == SYSTEM_CA


class TestKeepWhatIsUnreadable:
    def test_the_first_reading_is_taken_as_it_is(self) -> None:
        first = reading("a", broken=("b",), complete=False)
        assert keep_what_is_unreadable(None, first) is first

    def test_a_half_written_file_keeps_the_fleet(self) -> None:
        assert names(keep_what_is_unreadable(reading("a", "b"), reading("a", complete=False))) == {"a", "b"}

    def test_a_broken_entry_keeps_its_cluster_and_only_that(self) -> None:
        assert names(keep_what_is_unreadable(reading("a", "b", "c"), reading("a", broken=("b",)))) == {"a", "b"}

    def test_a_complete_reading_takes_away(self) -> None:
        assert names(keep_what_is_unreadable(reading("a", "b"), reading("a"))) == {"a"}

    def test_what_is_kept_is_still_kept_at_the_next_broken_reading(self) -> None:
        kept = keep_what_is_unreadable(reading("a", "b"), reading(complete=False))
        assert names(keep_what_is_unreadable(kept, reading(broken=("b",)))) == {"b"}

    def test_the_new_sighting_wins_over_the_kept_one(self) -> None:
        moved = sighting("a", "elsewhere.example")
        kept = keep_what_is_unreadable(reading("a"), reading(moved, complete=False))
        assert kept.sightings == (moved,)

    @given(before=some_names, now=some_names, broken=some_names, complete=st.booleans())
    def test_nothing_is_lost_that_was_not_read_to_be_gone(
        self, before: list[str], now: list[str], broken: list[str], *, complete: bool
    ) -> None:
        kept = keep_what_is_unreadable(reading(*before), reading(*now, broken=tuple(broken), complete=complete))
        gone = set(before) - names(kept)
        assert names(kept) >= set(now)
        assert not gone & set(broken)
        assert complete or not gone


class TestMerge:
    def test_two_contexts_with_one_key_are_one_cluster_with_two_names(self) -> None:
        first, second = sighting("a", "h"), sighting("b", "h")
        [(key, want)] = merge_sightings([reading(first, second)], {}).items()
        assert key == key_of(first.endpoint)
        assert (want.sighting, want.also_known_as, want.keys) == (first, ("b",), (key,))

    def test_the_first_source_gives_name_and_credential(self) -> None:
        ours, theirs = sighting("a", "h", source="static"), sighting("b", "h")
        [want] = merge_sightings([reading(ours), reading(theirs)], {}).values()
        assert want.sighting is ours

    def test_an_alias_joins_two_keys_and_the_cluster_s_own_is_asked(self) -> None:
        alias, main = sighting("alias"), sighting("main")
        aliases = {key_of(alias.endpoint): key_of(main.endpoint)}
        [(key, want)] = merge_sightings([reading(alias, main)], aliases).items()
        assert key == key_of(main.endpoint)
        assert want.sighting is main
        assert want.also_known_as == ("alias",)
        assert want.keys == (key, key_of(alias.endpoint))

    def test_an_alias_alone_still_leads_to_its_cluster(self) -> None:
        alias, main = sighting("alias"), key_of(sighting("main").endpoint)
        [(key, want)] = merge_sightings([reading(alias)], {key_of(alias.endpoint): main}).items()
        assert (key, want.sighting) == (main, alias)

    def test_one_name_twice_is_said_once(self) -> None:
        [want] = merge_sightings(
            [reading(sighting("a", "h")), reading(sighting("a", "h", source="static"))], {}
        ).values()
        assert want.also_known_as == ()

    @given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("hijk")), max_size=8))
    def test_every_sighting_is_in_exactly_one_cluster(self, named: list[tuple[str, str]]) -> None:
        sightings = [sighting(name, host) for name, host in named]
        aliases = {key_of(Endpoint("i", 6443, CA)): key_of(Endpoint("h", 6443, CA))}
        wanted = merge_sightings([reading(*sightings)], aliases)
        keys = [key for want in wanted.values() for key in want.keys]
        assert sorted(keys) == sorted({key_of(one.endpoint) for one in sightings})
        assert all(aliases.get(key, key) == main for main, want in wanted.items() for key in want.keys)


class TestMayBeGone:
    def test_what_a_complete_reading_does_not_name_is_gone(self) -> None:
        assert may_be_gone("a", "static", {"static": reading()}, ("static",))

    def test_a_source_that_was_not_read_takes_nothing_away(self) -> None:
        assert not may_be_gone("a", "static", {}, ("static",))

    def test_an_incomplete_reading_takes_nothing_away(self) -> None:
        assert not may_be_gone("a", "static", {"static": reading(complete=False)}, ("static",))

    def test_a_broken_entry_is_not_gone(self) -> None:
        readings = {"static": reading(broken=("a",))}
        assert not may_be_gone("a", "static", readings, ("static",))
        assert may_be_gone("b", "static", readings, ("static",))

    def test_nothing_is_gone_before_every_source_was_read_once(self) -> None:
        """After a restart: the cluster may have moved from one source to another meanwhile."""
        both = ("kubeconfig", "static")
        assert not may_be_gone("a", "static", {"static": reading()}, both)
        assert may_be_gone("a", "static", {"static": reading(), "kubeconfig": reading(complete=False)}, both)

    def test_a_source_that_is_configured_no_more_takes_its_clusters_along(self) -> None:
        assert may_be_gone("a", "static", {"kubeconfig": reading()}, ("kubeconfig",))

    def test_but_not_while_they_may_be_in_a_file_that_can_not_be_read(self) -> None:
        assert not may_be_gone("a", "static", {"kubeconfig": reading(complete=False)}, ("kubeconfig",))

    def test_no_source_at_all_is_an_empty_fleet(self) -> None:
        assert may_be_gone("a", "static", {}, ())
