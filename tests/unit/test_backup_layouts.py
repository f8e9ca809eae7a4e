"""Backups recognised from names, inventories made of pages, and documents that nobody has to trust."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validator.backups.inventory import MAX_GROUPS, MAX_MISSING, BadInventory, Inventory, from_document, to_document
from validator.backups.layout import Backup, Product, Recogniser
from validator.backups.listing import Bounds, Listing
from validator.backups.metadata import told_by
from validator.backups.objects import Listed, Page
from validator.backups.runner import SyncRunner
from validator.clock import HubClock
from validator.locations import Location, Provider
from validator.net.failure import ProbeFailure
from validator.reasons import Reason

NOW = 1_800_000_000.0
OLD = NOW - 10_000.0
QUICK = Bounds(pause_s=0.001, page_s=0.1)
S3 = Location(UUID(int=7), "backups", Provider.S3, "backups")


def velero(name: str, prefix: str = "", *, without: str = "") -> list[str]:
    at = f"{prefix}/backups/{name}" if prefix else f"backups/{name}"
    files = [f"{name}-logs.gz", f"{name}.tar.gz", "velero-backup.json", f"{name}-volumesnapshots.json.gz"]
    return [f"{at}/{file}" for file in files if file != without]


def stork(namespace: str, name: str, uid: str = "", *, without: str = "") -> list[str]:
    at = f"{namespace}/{name}/{uid or uuid4()}"
    return [f"{at}/{f}" for f in ("crds.json", "metadata.json", "namespaces.json", "resources.json") if f != without]


def recognised(names: Iterable[str], at: float = OLD) -> tuple[list[Backup], bool]:
    names_, recogniser = list(names), Recogniser()
    found = [recogniser.add(Listed(name, 1, at)) for name in names_]
    return [each for each in (*found, recogniser.section()) if each is not None], recogniser.in_order


@dataclass
class Pretended:
    """A bucket in memory, that answers a page at a time as providers do, and fails as told."""

    names: list[str]
    bodies: dict[str, bytes] = field(default_factory=dict)
    at: float = OLD
    size: int = 100
    failures: list[Exception] = field(default_factory=list)
    asked: list[tuple[str, bool]] = field(default_factory=list)
    hang: bool = False

    async def page(self, prefix: str, after: str | None, *, folders: bool) -> Page:
        self.asked.append((prefix, folders))
        if self.hang:
            await asyncio.sleep(60)
        if self.failures:
            raise self.failures.pop(0)
        entries: list[tuple[str, bool]] = []
        for name in sorted(self.names):
            if name.startswith(prefix):
                below, slash, _ = name[len(prefix) :].partition("/")
                entry = (prefix + below + slash, True) if folders and slash else (name, False)
                if entry not in entries[-1:]:
                    entries.append(entry)
        begin = int(after or 0)
        some = entries[begin : begin + self.size]
        more = str(begin + self.size) if begin + self.size < len(entries) else None
        listed = [Listed(name, 10, self.at) for name, is_folder in some if not is_folder]
        return Page(listed, [name for name, is_folder in some if is_folder], more)

    async def read(self, name: str, most_bytes: int) -> bytes:
        self.asked.append((name, False))
        return self.bodies.get(name, b"")[:most_bytes]


async def listed(bucket: Pretended, bounds: Bounds = QUICK) -> Inventory:
    return await Listing(bucket, NOW, lambda *_: None, bounds).inventory()


class TestNames:
    def test_velero_at_the_top_and_under_a_prefix_and_stork(self) -> None:
        uid = str(uuid4())
        names = [*velero("daily-1"), *velero("daily-2", "team/prod"), *stork("shop", "nightly", uid)]
        found, in_order = recognised(sorted(names))
        assert [(each.product, each.group, each.name, each.missing) for each in found] == [
            (Product.VELERO, "", "daily-1", None),
            (Product.STORK, "shop", "nightly", None),
            (Product.VELERO, "team/prod", "daily-2", None),
        ]
        assert in_order

    def test_metadata_without_contents_is_a_backup_with_a_missing_file(self) -> None:
        uid = str(uuid4())
        names = [*velero("a", without="a.tar.gz"), *stork("ns", "b", uid, without="resources.json")]
        found, _ = recognised(sorted(names))
        assert [each.missing for each in found] == ["backups/a/a.tar.gz", f"ns/b/{uid}/resources.json"]

    @pytest.mark.parametrize(
        "names",
        [
            velero("a", without="velero-backup.json"),
            ["velero-backup.json", "x/velero-backup.json"],
            ["ns/name/not-a-uid/metadata.json", "metadata.json", "a/b/c/d/metadata.json"],
            ["backups/a/sub/velero-backup.json.tmp"],
        ],
    )
    def test_what_is_none(self, names: list[str]) -> None:
        assert recognised(sorted(names))[0] == []

    def test_a_folder_between_two_files_of_a_backup_does_not_end_it(self) -> None:
        names = ["backups/a/a.tar.gz", "backups/a/extra/x", "backups/a/velero-backup.json"]
        assert [each.missing for each in recognised(names)[0]] == [None]

    def test_folder_by_folder_is_an_order_too_and_no_order_is_noticed(self) -> None:
        by_path = [*velero("a"), *velero("a-b")]  # by bytes, a-b/ comes before a/
        names = sorted(by_path, key=lambda name: name.split("/"))
        assert names != sorted(by_path)
        assert recognised(names) == (recognised(sorted(by_path))[0][::-1], True)
        assert not recognised([*velero("b"), *velero("a-b"), *velero("a")])[1]

    @given(
        st.lists(st.sampled_from(["a", "b", "backups", "kopia", "x-1", "daily"]), min_size=1, max_size=6, unique=True),
        st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), max_size=6),
        st.integers(0, 3),
    )
    def test_every_backup_is_found_once_whatever_lies_around_it(
        self, names: list[str], noise: list[str], broken: int
    ) -> None:
        made = {each: velero(each, without=f"{each}.tar.gz" if i < broken else "") for i, each in enumerate(names)}
        around = {each for text in noise for each in (text, f"backups/{text}", f"kopia/{text}/p", f"{text}/q/r")}
        objects = sorted({*around, *(name for each in made.values() for name in each)})
        found = [each for each in recognised(objects)[0] if each.product is Product.VELERO and not each.group]
        assert sorted(each.name for each in found) == sorted(names)
        assert sum(each.missing is not None for each in found) == min(broken, len(names))


class TestMetadata:
    def test_what_products_write(self) -> None:
        said = json.dumps({"status": {"phase": "Completed", "completionTimestamp": "2027-01-15T08:00:00Z"}}).encode()
        told = told_by(Product.VELERO, said)
        assert told is not None
        assert (told.good, told.phase, told.ended_at) == (True, "Completed", NOW)
        failed = told_by(Product.STORK, b'{"status": {"status": "Failed", "finishTimestamp": null}}')
        assert failed is not None
        assert (failed.good, failed.ended_at) == (False, None)

    @pytest.mark.parametrize(
        "raw", [b"", b"\x00\xff", b"[" * 100_000, b"[]", b'{"status": 3}', b'{"status": {"phase": 3}}', b'{"a":NaN}']
    )
    def test_what_can_not_be_read_says_nothing(self, raw: bytes) -> None:
        assert told_by(Product.VELERO, raw) is None

    @given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
    def test_whatever_comes_nothing_is_raised(self, raw: bytes) -> None:
        told_by(Product.STORK, raw)


class TestListing:
    async def test_volume_data_of_velero_is_never_listed(self) -> None:
        data = [f"{prefix}kopia/ns/p{n}" for n in range(50) for prefix in ("", "prod-2/")]
        names = [*velero("a"), *velero("b", "prod-2"), *data, "restores/r/restore-r-logs.gz", "restic/x", "note.txt"]
        bucket = Pretended(names, size=7)
        inventory = await listed(bucket)
        assert [(each.prefix, each.backups) for each in inventory.groups] == [("", 1), ("prod-2", 1)]
        assert (inventory.objects, inventory.backups, inventory.missing_total, inventory.truncated) == (9, 2, 0, "")
        assert not any("kopia" in prefix or "rest" in prefix for prefix, _ in bucket.asked)

    async def test_a_namespace_of_stork_with_a_backup_called_backups_is_listed_whole(self) -> None:
        names = [*stork("shop", "backups"), *stork("shop", "nightly"), *stork("kopia", "nightly")]
        inventory = await listed(Pretended(names, size=3))
        assert {each.prefix: each.backups for each in inventory.groups} == {"shop": 2, "kopia": 1}

    async def test_the_newest_is_one_that_has_not_failed(self) -> None:
        names = [*velero("good"), *velero("worse"), *velero("no-contents", without="no-contents.tar.gz")]
        bodies = {
            "backups/good/velero-backup.json": b'{"status": {"phase": "Completed", '
            b'"completionTimestamp": "2026-01-15T08:00:00Z"}}',
            "backups/worse/velero-backup.json": b'{"status": {"phase": "Failed"}}',
        }
        [group] = (await listed(Pretended(names, bodies))).groups
        assert (group.newest, group.phase, group.newest_at) == ("good", "Completed", 1_768_464_000.0)
        bodies["backups/good/velero-backup.json"] = b'{"status": {"phase": "Failed"}}'
        [group] = (await listed(Pretended(names, bodies))).groups
        assert (group.backups, group.newest_at, group.newest) == (3, None, "")

    async def test_a_backup_that_is_being_written_is_neither_missed_nor_the_newest(self) -> None:
        inventory = await listed(Pretended(velero("now", without="now.tar.gz"), at=NOW - 60))
        assert (inventory.backups, inventory.missing_total, inventory.groups[0].newest_at) == (1, 0, None)
        later = await listed(Pretended(velero("now", without="now.tar.gz"), at=NOW - 4000))
        assert later.missing == ("backups/now/now.tar.gz",)

    async def test_every_bound_is_told(self) -> None:
        many = [name for n in range(MAX_MISSING + 10) for name in velero(f"b{n}", without=f"b{n}.tar.gz")]
        inventory = await listed(Pretended(many))
        assert (len(inventory.missing), inventory.missing_total) == (MAX_MISSING, MAX_MISSING + 10)
        assert "more than 100 objects" in (await listed(Pretended(many), replace(QUICK, objects=100))).truncated
        namespaces = [name for n in range(MAX_GROUPS + 5) for name in stork(f"ns{n}", "nightly")]
        inventory = await listed(Pretended(namespaces))
        assert (len(inventory.groups), inventory.backups) == (MAX_GROUPS + 1, MAX_GROUPS + 5)
        assert [each.backups for each in inventory.groups if each.prefix == "*"] == [5]
        assert "folders at the top" in (await listed(Pretended(namespaces), replace(QUICK, folders=3))).truncated
        slow = await listed(Pretended(many, hang=True), replace(QUICK, whole_s=0.05, page_s=9))
        assert "longer than 0.05 s" in slow.truncated

    async def test_throttling_is_waited_for_and_refusals_are_not(self) -> None:
        throttled = ProbeFailure(Reason.STORAGE_THROTTLED, "slow down", retry_after_s=0.01)
        bucket = Pretended(velero("a"), failures=[throttled, throttled])
        assert (await listed(bucket)).backups == 1
        runner = SyncRunner({Provider.S3: lambda _: bucket}, HubClock(), QUICK)
        bucket.asked, bucket.failures = [], [ProbeFailure(Reason.ROLE_MISSING, "no right, sig=abc&x")]
        result = await runner.run(S3, uuid4(), lambda *_: None)
        assert (result.succeeded, result.reason, result.message) == (
            False,
            Reason.ROLE_MISSING,
            "no right, sig=[secret]&x",
        )
        assert len(bucket.asked) == 1
        bucket.asked, bucket.hang = [], True
        result = await runner.run(S3, uuid4(), lambda *_: None)
        assert (result.reason, len(bucket.asked)) == (Reason.STORAGE_TIMEOUT, QUICK.tries)

    async def test_it_can_be_cancelled_and_has_told_how_far_it_came(self) -> None:
        told: list[int] = []
        bucket = Pretended([name for n in range(50) for name in velero(f"b{n}")], size=20)
        runner = SyncRunner({Provider.S3: lambda _: bucket}, HubClock(), QUICK)
        assert (await runner.run(S3, uuid4(), lambda so_far, of: told.append(so_far))).listed == 200
        assert told == [0, *range(20, 201, 20)]
        bucket.hang = True
        task = asyncio.create_task(runner.run(S3, uuid4(), lambda *_: None), name="sync")
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task], timeout=1)
        assert task.cancelled()

    async def test_a_provider_without_sdk_is_a_reason(self) -> None:
        result = await SyncRunner({}, HubClock()).run(S3, uuid4(), lambda *_: None)
        assert result.reason is Reason.IDENTITY_UNAVAILABLE


class TestDocuments:
    async def test_an_inventory_goes_through_json_and_back(self) -> None:
        inventory = await listed(Pretended([*velero("a"), *velero("b", without="b.tar.gz"), *stork("ns", "c")]))
        assert from_document(json.loads(json.dumps(to_document(inventory)))) == inventory

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("objects", -1),
            ("objects", True),
            ("objects", 2**60),
            ("groups", [{}] * (MAX_GROUPS + 3)),
            ("groups", [3]),
            ("groups", [{"product": "other", "prefix": "", "backups": 1, "newest_at": 1, "newest": "", "phase": ""}]),
            (
                "groups",
                [{"product": "velero", "prefix": "", "backups": 1, "newest_at": 1e300, "newest": "", "phase": ""}],
            ),
            ("groups", [{"product": [], "prefix": "", "backups": 1, "newest_at": None, "newest": "", "phase": ""}]),
            ("missing", ["x" * 5000]),
            ("missing", "x"),
            ("truncated", None),
        ],
    )
    async def test_what_makes_no_sense_is_refused_by_its_field(self, field: str, value: Any) -> None:
        document = to_document(await listed(Pretended(velero("a")))) | {field: value}
        with pytest.raises(BadInventory, match=field):
            from_document(document)

    async def test_control_characters_are_taken_out(self) -> None:
        document = to_document(await listed(Pretended(velero("a")))) | {"missing": ["a\x1b[31m\x00b"]}
        assert from_document(document).missing == ("a [31m b",)

    @given(
        st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda x: st.lists(x, max_size=3))
    )
    def test_any_json_is_an_inventory_or_refused(self, found: object) -> None:
        with pytest.raises(BadInventory):
            from_document(found)
