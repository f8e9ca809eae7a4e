"""The uplink of one instance on a real database: what happens between its parts, and while the database is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from store.embedded import EmbeddedPostgres
from store.migrate import STORE_MIGRATIONS, migrate
from store.pool import Database
from tests.support.postgres import frozen
from tests.support.receiving import receiving
from tests.support.telemetry import ANN, OFFER, MadeUpFacts, change, facts
from tests.support.uplinking import DICTIONARY, consent, standing_of, until
from uplink.client.consent.consent import NOBODY, Found, Impossible, decide, withdraw
from uplink.client.consent.record import Endpoints, Given
from uplink.client.consent.streams import Stream
from uplink.client.enrolment.anchors import Anchors, load_anchors
from uplink.client.enrolment.vault import FileVault
from uplink.client.network.proxy import Proxies
from uplink.client.spooling.epochs import SPOOL_MIGRATIONS
from uplink.client.uplink import Setup, Uplink
from uplink.receiver.batches import Batches, Stored
from uplink.receiver.importing import Trusted, import_file
from validator.clock import HubClock


class Whole:
    """One instance."""

    def __init__(self, directory: Path, anchors: Anchors | None = None) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        self.host: str | None = ""
        self.directory = directory
        now = time.time()
        self.source = MadeUpFacts(facts(3, at=now), [change(at=now)])
        setup = Setup(
            directory=directory,
            identity=FileVault(directory / "identity"),
            export_key=FileVault(directory / "export-key"),
            anchors=anchors or Anchors(),
            proxies=Proxies(),
            host=lambda: self.host,
        )
        self.uplink = Uplink(self.source, HubClock(), "0.1.0", DICTIONARY, setup)

    def word(self) -> str:
        return self.uplink.state().word

    @asynccontextmanager
    async def running(self, db: Database, found: Found = NOBODY) -> AsyncIterator[None]:
        self.uplink.open(db)
        run = asyncio.create_task(self.uplink.run(found), name="uplink")
        lead = asyncio.create_task(self.uplink.lead(), name="leading")
        await asyncio.sleep(0)
        try:
            yield
            assert not run.done()
            assert not lead.done()
        finally:
            for task in (lead, run):
                task.cancel()
            await asyncio.gather(run, lead, return_exceptions=True)
            await self.uplink.close()


@pytest.fixture
async def shaky(own_postgres: EmbeddedPostgres) -> AsyncIterator[tuple[Database, EmbeddedPostgres]]:
    """A database that a test may freeze."""
    db = await Database.open(await own_postgres.start(), statement_timeout_s=1.0)
    await migrate(db, [STORE_MIGRATIONS, SPOOL_MIGRATIONS], 1)
    yield db, own_postgres
    await db.close()


def without_endpoints(given: Given) -> Given:
    return given.model_copy(update={"endpoints": None})


@pytest.mark.timeout(60)
async def test_h4_a_consent_that_the_database_has_not_heard_of_waits_for_it_and_off_forgets_it(
    shaky: tuple[Database, EmbeddedPostgres], tmp_path: Path
) -> None:
    db, server = shaky
    here = Whole(tmp_path / "telemetry")
    standing = standing_of(without_endpoints(consent()))
    async with here.running(db):
        assert server.pid is not None
        with frozen(server.pid):
            await here.uplink.began(standing, None)
            assert here.word() == "silent"
        async with asyncio.timeout(15):
            while here.word() == "silent":
                await here.uplink.heed(standing)
                await asyncio.sleep(0.05)
        assert here.word() == "export"

        with frozen(server.pid):
            again = standing_of(without_endpoints(consent(epoch=5)))
            heeding = asyncio.create_task(here.uplink.began(again, None), name="began")
            await asyncio.sleep(0.2)
            here.uplink.silence()
            await asyncio.wait([heeding])
        await asyncio.sleep(0.3)
        assert here.word() == "off", "what was under way when it was silenced opens nothing"


async def test_an_export_without_a_network_is_known_by_the_fingerprint_that_is_shown(
    uplink_db: Database, receiver_url: str, tmp_path: Path
) -> None:
    here = Whole(tmp_path / "telemetry")
    given = without_endpoints(consent())
    standing = standing_of(given)
    async with here.running(uplink_db), receiving(receiver_url, tmp_path / "receiver") as desk:
        await here.uplink.began(standing, None)
        await until(lambda: here.word() == "export")
        file = tmp_path / "export.jsonl"
        for _ in range(2):
            file.write_bytes(b"".join([piece async for piece in here.uplink.export(standing)]))
        fingerprint = here.uplink.state().detail.rpartition(" ")[2]
        batches = Batches(desk.store, quota_bytes=10**8, forwards=False)
        done = await import_file(
            desk.store, batches, desk.authority.bundle, file, time.time(), Trusted("acme", fingerprint)
        )
        assert done.batches[Stored.NEW] >= len(Stream), "of the first, too: what is exported stays"
        assert list((here.directory / "export-key").iterdir())
        await here.uplink.ended()
        assert here.word() == "off"
        assert not list((here.directory / "export-key").iterdir())


async def test_h8_in_another_cluster_the_identity_is_destroyed_and_never_used(
    uplink_db: Database, receiver_url: str, tmp_path: Path
) -> None:
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        anchors = "".join(each.public_bytes(Encoding.PEM).decode() for each in desk.authority.bundle)
        here = Whole(tmp_path / "telemetry", Anchors(anchors))
        url = f"https://localhost:{desk.port}"
        given = consent().model_copy(update={"endpoints": Endpoints(register_url=url, ingest_url=url)})
        standing = standing_of(given)
        async with here.running(uplink_db):
            here.host = "uid-of-the-first"
            await here.uplink.began(standing, await desk.token())
            await until(lambda: here.word() == "active", 10)
            assert list((here.directory / "identity").iterdir())
            here.host = ""  # after a restart, before it has been read again
            await here.uplink.heed(standing)
            assert here.word() == "active"
            here.host = "uid-of-another"
            await here.uplink.heed(standing)
            assert here.word() == "held"
            assert "activation token" in here.uplink.state().detail
            assert not list((here.directory / "identity").iterdir())


@pytest.mark.parametrize("theirs", ["uid-of-the-first", "uid-of-another"])
async def test_h8_restored_elsewhere_nothing_is_sent_before_the_uid_is_read(
    uplink_db: Database, receiver_url: str, tmp_path: Path, theirs: str
) -> None:
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        anchors = "".join(each.public_bytes(Encoding.PEM).decode() for each in desk.authority.bundle)
        url = f"https://localhost:{desk.port}"
        given = consent().model_copy(update={"endpoints": Endpoints(register_url=url, ingest_url=url)})
        standing = standing_of(given)
        before = Whole(tmp_path / "telemetry", Anchors(anchors))
        before.host = "uid-of-the-first"
        async with before.running(uplink_db):
            await before.uplink.began(standing, await desk.token())
            await until(lambda: before.uplink.state().last_success_at is not None, 10)

        async def received() -> int:
            return int(await desk.store.db.fetchval("SELECT count(*) FROM receiver_batches"))

        count = await received()
        after = Whole(tmp_path / "telemetry", Anchors(anchors))
        after.host = None  # it is being read
        async with after.running(uplink_db, given):
            await after.uplink.heed(standing)
            await asyncio.sleep(0.5)
            await after.uplink.heed(standing)
            assert after.word() == "enrolling"
            assert await received() == count
            after.host = theirs
            await after.uplink.heed(standing)
            if theirs == before.host:
                await until(lambda: after.uplink.state().last_success_at is not None, 10)
            else:
                assert after.word() == "held"
                await asyncio.sleep(0.3)
                assert await received() == count


async def test_a_vault_that_cannot_be_written_for_a_moment_does_not_cost_the_token(
    uplink_db: Database, receiver_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uplink.client.uplink.BEGIN_AGAIN_S", 0.05)
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        anchors = "".join(each.public_bytes(Encoding.PEM).decode() for each in desk.authority.bundle)
        here = Whole(tmp_path / "telemetry", Anchors(anchors))
        url = f"https://localhost:{desk.port}"
        given = consent().model_copy(update={"endpoints": Endpoints(register_url=url, ingest_url=url)})
        identity = here.directory / "identity"
        identity.mkdir(mode=0o755)
        identity.chmod(0o755)
        async with here.running(uplink_db):
            await here.uplink.began(standing_of(given), await desk.token())
            await until(lambda: here.word() == "held")
            identity.chmod(0o700)
            await asyncio.sleep(0.1)
            await here.uplink.heed(standing_of(given))
            await until(lambda: here.word() == "active", 10)


async def test_without_a_usable_ca_file_nobody_can_switch_on(uplink_db: Database, tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for path in (broken, tmp_path / "absent.pem", tmp_path):
        here = Whole(tmp_path / "telemetry", load_anchors(path))
        async with here.running(uplink_db):
            with pytest.raises(Impossible, match="telemetry_ca_file"):
                await here.uplink.known_epoch()


async def test_before_the_database_is_open_off_destroys_the_key_all_the_same(tmp_path: Path) -> None:
    here = Whole(tmp_path / "telemetry")
    await FileVault(here.directory / "identity").write(b"a key")
    here.uplink.silence()
    await here.uplink.ended()
    assert not list((here.directory / "identity").iterdir())
    with pytest.raises(Impossible, match="database"):
        await here.uplink.known_epoch()


async def test_h5_an_off_before_a_crash_is_finished_at_the_start(uplink_db: Database, tmp_path: Path) -> None:
    given = without_endpoints(consent())
    before = Whole(tmp_path / "telemetry")
    async with before.running(uplink_db):
        await before.uplink.began(standing_of(given), None)
        await until(lambda: before.word() == "export")
        assert await before.uplink.head(Stream.METRICS) is not None
    assert await uplink_db.fetchval("SELECT count(*) FROM uplink_spool") > 0
    off = withdraw(ANN, given.epoch + 1, time.time())
    after = Whole(tmp_path / "telemetry")
    async with after.running(uplink_db, off):
        await until(lambda: not after.uplink.unfinished)
        assert await uplink_db.fetchval("SELECT count(*) FROM uplink_spool") == 0


async def test_h5_an_off_that_the_database_has_not_heard_of_is_told_at_the_start_whatever_it_knows(
    uplink_db: Database, tmp_path: Path
) -> None:
    """On an instance that never consented, while it was cut off: its epoch is far below that of the others."""
    there = Whole(tmp_path / "there")
    given = without_endpoints(consent(epoch=7))
    async with there.running(uplink_db):
        await there.uplink.began(standing_of(given), None)
        await until(lambda: there.word() == "export")
        here = Whole(tmp_path / "here")
        async with here.running(uplink_db, withdraw(ANN, 1, time.time()).model_copy(update={"told": True})):
            await asyncio.sleep(0.3)
            assert there.word() == "export", "one that it has heard of is history"
        again = Whole(tmp_path / "here")
        async with again.running(uplink_db, withdraw(ANN, 1, time.time())):
            await until(lambda: there.word() == "off")


async def test_h1_whoever_removes_the_file_has_switched_off(uplink_db: Database, tmp_path: Path) -> None:
    here, given = Whole(tmp_path / "telemetry"), without_endpoints(consent())
    async with here.running(uplink_db):
        await here.uplink.began(standing_of(given), None)
        await until(lambda: here.word() == "export")
        assert await here.uplink.head(Stream.LOGS) is not None
        async for _ in here.uplink.export(standing_of(given)):
            pass
        await here.uplink.heed(decide(NOBODY, OFFER, {}))
        assert here.word() == "off"
        assert await uplink_db.fetchval("SELECT count(*) FROM uplink_spool") == 0
        assert not list((here.directory / "export-key").iterdir())


async def test_h10_a_stream_less_is_the_same_consent_and_its_batches_go(uplink_db: Database, tmp_path: Path) -> None:
    here, given = Whole(tmp_path / "telemetry"), without_endpoints(consent())
    async with here.running(uplink_db):
        await here.uplink.began(standing_of(given), None)
        await until(lambda: here.word() == "export")
        assert await here.uplink.head(Stream.LOGS) is not None
        fewer = given.model_copy(
            update={"epoch": given.epoch + 1, "scope": {Stream.METRICS: given.scope[Stream.METRICS]}}
        )
        here.uplink.silence()
        await here.uplink.began(standing_of(fewer), None)
        await until(lambda: here.word() == "export")
        assert await uplink_db.fetchval("SELECT count(*) FROM uplink_spool WHERE stream = 'logs'") == 0
