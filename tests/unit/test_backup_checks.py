"""What one listing says of pairs, and when the next is due."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from collector.backup_checks import HOUR_S, RESYNC_S, Seen, SyncSettings, owners, verdicts_of
from collector.sync import KeptInventory
from collector.sync_due import NOW, RETRY_S, due_at
from tests.support.collecting import AT_ONCE
from validator.backups.inventory import Group, Inventory
from validator.backups.layout import Product
from validator.health import step
from validator.model import Check, Outcome, Verdict
from validator.reasons import Reason

AT = 1_800_000_000.0
BERLIN, PARIS = uuid4(), uuid4()
BOTH = {BERLIN: {"berlin", "prod-1"}, PARIS: {"paris"}}
SETTINGS = SyncSettings()


def group(prefix: str = "", age_h: float | None = 2.0, product: Product = Product.VELERO) -> Group:
    at = None if age_h is None else AT - age_h * HOUR_S
    return Group(product, prefix, 3, at, "" if at is None else "daily", "")


def seen(*groups: Group, missing: int = 0, truncated: str = "", method: str = "direct") -> Seen:
    names = tuple(f"backups/b{n}/b{n}.tar.gz" for n in range(missing))
    found = Inventory(40, 400, 3 * len(groups), groups, names, missing, truncated)
    return Seen(found, uuid4(), AT, 10.0, method)


def judged(found: Seen, check: Check = Check.BACKUPS, *, alone: bool = False) -> dict[object, Verdict]:
    clusters = {BERLIN: BOTH[BERLIN]} if alone else BOTH
    return {v.cluster_id: v for v in verdicts_of(found, clusters, list(clusters), SETTINGS) if v.check is check}


class TestWhose:
    def test_all_is_of_the_only_cluster_whatever_it_is_called(self) -> None:
        groups = [group("elsewhere"), group("shop", product=Product.STORK)]
        assert owners(groups, {PARIS: {"paris"}}) == [PARIS, PARIS]

    def test_of_several_a_prefix_with_the_name_tells(self) -> None:
        groups = [group("team/prod-1"), group(str(PARIS)), group(""), group("berlin/paris"), group("parisian")]
        assert owners(groups, BOTH) == [BERLIN, PARIS, None, None, None]

    def test_a_namespace_of_that_name_does_not(self) -> None:
        assert owners([group("berlin", product=Product.STORK)], BOTH) == [None]

    def test_a_name_that_two_have_tells_nothing(self) -> None:
        assert owners([group("prod")], {BERLIN: {"prod"}, PARIS: {"prod"}}) == [None]


class TestBackups:
    def test_a_young_one_passes_until_it_is_too_old(self) -> None:
        verdict = judged(seen(group(age_h=20.0)), alone=True)[BERLIN]
        assert (verdict.outcome, verdict.evidence["newest_age_h"], verdict.evidence["period_h"]) == (
            Outcome.PASS,
            20.0,
            6.0,
        )
        assert verdict.allowance_s == 6 * HOUR_S + RESYNC_S + 10.0

    def test_an_old_one_fails_and_says_by_how_much(self) -> None:
        verdict = judged(seen(group(age_h=30.5)), alone=True)[BERLIN]
        assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, Reason.BACKUPS_TOO_OLD)
        assert verdict.message == "The newest backup is 30.5 h old, and 26 h are allowed."
        assert verdict.allowance_s > 2 * SETTINGS.sync_interval_s

    @pytest.mark.parametrize(("groups", "text"), [([], "no backup in"), ([group(age_h=None)], "whole and has not")])
    def test_none_is_a_failure_too(self, groups: list[Group], text: str) -> None:
        verdict = judged(seen(*groups), alone=True)[BERLIN]
        assert (verdict.outcome, text in verdict.message) == (Outcome.FAIL, True)

    def test_a_neighbours_backup_makes_nobody_green(self) -> None:
        found = judged(seen(group("berlin")))
        assert [found[each].outcome for each in BOTH] == [Outcome.PASS, Outcome.FAIL]
        found = judged(seen(group("berlin"), group("")))
        assert [found[each].outcome for each in BOTH] == [Outcome.PASS, Outcome.UNKNOWN]
        assert found[PARIS].reason is Reason.BACKUPS_UNKNOWN

    def test_where_all_is_too_old_it_is_so_for_everybody(self) -> None:
        found = judged(seen(group("", age_h=50.0)))
        assert {each.outcome for each in found.values()} == {Outcome.FAIL}

    def test_a_list_that_was_cut_short_accuses_nobody(self) -> None:
        found = judged(seen(group("berlin"), truncated="it took longer than 1200 s"))
        assert [found[each].outcome for each in BOTH] == [Outcome.PASS, Outcome.UNKNOWN]


class TestMissing:
    def test_a_missing_file_is_told_by_name(self) -> None:
        verdict = judged(seen(group(), missing=7), Check.MISSING_FILES, alone=True)[BERLIN]
        assert (verdict.outcome, verdict.reason) == (Outcome.FAIL, Reason.BACKUP_FILES_MISSING)
        assert verdict.message == "7 objects are missing, for example backups/b0/b0.tar.gz."
        assert [key for key in verdict.evidence if key.startswith("missing_")] == [f"missing_{n}" for n in range(1, 6)]

    def test_where_clusters_share_a_location_it_is_a_finding(self) -> None:
        found = judged(seen(group(), missing=1), Check.MISSING_FILES)
        assert {each.outcome for each in found.values()} == {Outcome.FINDING}

    def test_half_a_list_does_not_pass(self) -> None:
        found = judged(seen(group(), truncated="more than 1,000,000 objects"), Check.MISSING_FILES)
        assert {each.outcome for each in found.values()} == {Outcome.UNKNOWN}
        assert {each.outcome for each in judged(seen(group()), Check.MISSING_FILES).values()} == {Outcome.PASS}


class TestDue:
    def test_the_pair_that_waits_longest_decides(self) -> None:
        old, young = (step(None, judged(seen(group(age_h=age)), alone=True)[BERLIN], AT_ONCE) for age in (20.0, 1.0))
        assert due_at(None, None, [young], SETTINGS) == AT + 24 * HOUR_S
        assert due_at(None, None, [young, old], SETTINGS) == AT + 6 * HOUR_S
        assert due_at(None, None, [young, None], SETTINGS) == NOW
        assert due_at(AT, None, [None], SETTINGS) == AT + RETRY_S
        assert due_at(None, None, [young], replace(SETTINGS, sync_interval_s=HOUR_S)) == AT + HOUR_S

    def test_what_the_hub_lists_itself_needs_no_pair(self) -> None:
        kept = KeptInventory(None, AT, 1.0, seen(group(age_h=25.9)).inventory)
        assert due_at(None, kept, [], SETTINGS) == AT + HOUR_S
        failed = replace(kept, inventory=seen(group(age_h=99.0)).inventory)
        assert due_at(None, failed, [], SETTINGS) == AT + 24 * HOUR_S
