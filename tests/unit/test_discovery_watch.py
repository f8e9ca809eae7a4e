"""Watching: a change is seen, a touch is not, and a file in the middle of being written costs nobody a cluster."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.kubeconfigs import Reader, b64, ca_pem, entry, kubeconfig, write
from tests.support.loops import on_both_loops
from validator.discovery.kubeconfig import KubeconfigSource
from validator.discovery.source import Reading, SourceProblem
from validator.discovery.watch import FileWatch, Taken
from validator.file_thread import FileThread

POLL_S = 0.02


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config"


@pytest.fixture
async def reader(path: Path) -> AsyncIterator[Reader]:
    write(path, kubeconfig(entry("a"), entry("b")))
    reader = Reader(KubeconfigSource(paths=[path], poll_s=POLL_S))
    yield reader
    await reader.close()


def names(reading: Reading) -> list[str]:
    return [sighting.name for sighting in reading.sightings]


@on_both_loops
async def test_contexts_come_and_go(path: Path, reader: Reader) -> None:
    assert names(await reader.next()) == ["a", "b"]
    write(path, kubeconfig(entry("b"), entry("c")))
    assert names(await reader.next()) == ["b", "c"]


async def test_a_touch_is_no_change(path: Path, reader: Reader) -> None:
    await reader.next()
    os.utime(path)
    assert await reader.silent(15 * POLL_S)


async def test_the_same_content_anew_is_no_change(path: Path, reader: Reader) -> None:
    await reader.next()
    write(path, kubeconfig(entry("a"), entry("b")))
    assert await reader.silent(15 * POLL_S)


async def test_a_half_written_kubeconfig_keeps_the_fleet(path: Path, reader: Reader) -> None:
    await reader.next()
    whole = path.read_text()  # noqa: ASYNC240 - a test's own small file
    write(path, whole[: len(whole) // 2])
    half = await reader.next()
    assert not half.complete
    assert half.problems
    write(path, whole)
    assert (await reader.next()).complete


async def test_a_file_cut_off_between_two_lines_keeps_the_fleet(path: Path, reader: Reader) -> None:
    await reader.next()
    write(path, "apiVersion: v1\nclusters: []\n")
    cut = await reader.next()
    assert not cut.complete
    assert "half-written" in cut.problems[0].message


async def test_a_slow_writer_is_let_finish(path: Path) -> None:
    write(path, kubeconfig(entry("a")))
    reader = Reader(KubeconfigSource(paths=[path], poll_s=0.2))
    await reader.next()
    coming = asyncio.create_task(reader.next())
    text = kubeconfig(*[entry(f"c{n}") for n in range(5)])
    with path.open("w") as file:
        for start in range(0, len(text), len(text) // 10):
            file.write(text[start : start + len(text) // 10])
            file.flush()
            await asyncio.sleep(0.05)
    assert names(await coming) == [f"c{n}" for n in range(5)]
    await reader.close()


async def test_a_deleted_file_is_a_problem_that_keeps_the_fleet(path: Path, reader: Reader) -> None:
    await reader.next()
    os.unlink(path)  # noqa: PTH108 - async code may not use pathlib for it
    gone = await reader.next()
    assert gone.sightings == ()
    assert not gone.complete
    write(path, kubeconfig(entry("a")))
    assert names(await reader.next()) == ["a"]


async def test_a_file_that_can_not_be_read_still_owns_its_names(tmp_path: Path) -> None:
    shared: dict[str, list[dict[str, object]]] = {"users": [{"name": "admin", "user": {"token": "first"}}]}
    context: dict[str, object] = {"name": "b", "context": {"cluster": "b", "user": "admin"}}
    one = write(tmp_path / "one", kubeconfig(entry("a"), shared))
    mine = entry("b", {"token": "second"}) | {"contexts": [context]}
    mine["users"][0]["name"] = "admin"
    two = write(tmp_path / "two", kubeconfig(mine))
    reader = Reader(KubeconfigSource(paths=[one, two], poll_s=POLL_S))
    whole = await reader.next()
    assert names(whole) == ["a", "b"]
    write(one, "half: [")
    broken = await reader.next()
    assert names(broken) == []  # b would get the other token now; it stays as it was, as the reading is incomplete
    assert not broken.complete
    assert len(broken.problems) == 1
    write(one, kubeconfig(entry("a"), shared))
    back = await reader.next()
    await reader.close()
    assert back == whole
    assert [s.credential for s in back.sightings] == [s.credential for s in whole.sightings]


async def test_a_new_ca_file_is_seen_though_the_kubeconfig_is_the_same(path: Path) -> None:
    write(path.parent / "ca.crt", ca_pem(0))
    config = entry("a", None, certificate_authority_data=None, certificate_authority="ca.crt")
    write(path, kubeconfig(config, entry("b", None, certificate_authority_data=b64(ca_pem(0)))))
    reader = Reader(KubeconfigSource(paths=[path], poll_s=POLL_S))
    before = await reader.next()
    write(path.parent / "ca.crt", ca_pem(1))
    after = await reader.next()
    await reader.close()
    assert after.sightings[0].endpoint.ca_pem != before.sightings[0].endpoint.ca_pem
    assert after.sightings[0].credential is before.sightings[0].credential
    assert after.sightings[1] == before.sightings[1]


async def test_a_symlink_swap_is_seen(path: Path) -> None:
    """As the kubelet updates a ConfigMap: the link in the middle is swapped, the path stays."""
    for number in (1, 2):
        os.mkdir(path.parent / f"..{number}")  # noqa: PTH102 - async code may not use pathlib for it
        write(path.parent / f"..{number}" / "config", kubeconfig(entry(f"c{number}")))
    os.symlink("..1", path.parent / "..data")  # noqa: PTH211 - the same
    os.symlink("..data/config", path)  # noqa: PTH211 - the same
    reader = Reader(KubeconfigSource(paths=[path], poll_s=POLL_S))
    assert names(await reader.next()) == ["c1"]
    os.symlink("..2", path.parent / "..new")  # noqa: PTH211 - the same
    os.replace(path.parent / "..new", path.parent / "..data")  # noqa: PTH105 - the same
    assert names(await reader.next()) == ["c2"]
    await reader.close()


async def test_a_lost_right_is_seen(path: Path) -> None:
    """`chmod` changes no content, but whose word the file is."""
    user: dict[str, object] = {"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1"}}
    write(path, kubeconfig(entry("a", user)))
    reader = Reader(KubeconfigSource(paths=[path], poll_s=POLL_S))
    before = await reader.next()
    os.chmod(path, 0o666)  # noqa: PTH101 - async code may not use pathlib for it
    after = await reader.next()
    await reader.close()
    assert type(after.sightings[0].credential) is not type(before.sightings[0].credential)


# -- the watch itself

SOMETHING = Reading((), (SourceProblem("x", "y", "z"),))


async def test_a_hung_file_system_is_said_and_outlived() -> None:
    release = threading.Event()

    def take() -> Taken:
        release.wait()
        return Taken(SOMETHING, ())

    readings = FileWatch("nfs", take, poll_s=POLL_S, deadline_s=0.05).readings()
    async with asyncio.timeout(5):
        hung = await anext(readings)
        assert not hung.complete
        assert "could not be read within 0.05 s" in hung.problems[0].message
        release.set()
        assert await anext(readings) == SOMETHING


async def test_a_defect_is_a_problem_that_quotes_nothing() -> None:
    def take() -> Taken:
        raise KeyError("s3cret")

    readings = FileWatch("x", take, poll_s=POLL_S).readings()
    async with asyncio.timeout(5):
        problem = (await anext(readings)).problems[0]
    assert "KeyError" in problem.message
    assert "s3cret" not in f"{problem}"


async def test_ending_the_readings_ends_the_thread(path: Path) -> None:
    write(path, kubeconfig(entry("a")))
    reader = Reader(KubeconfigSource(name="short-lived", paths=[path]))
    await reader.next()
    assert "source:short-lived" in {thread.name for thread in threading.enumerate()}
    await reader.close()
    del reader
    async with asyncio.timeout(5):
        while "source:short-lived" in {thread.name for thread in threading.enumerate()}:  # noqa: ASYNC110 - no event to wait for
            await asyncio.sleep(0.01)


async def test_a_job_in_the_queue_of_a_hung_thread_has_a_deadline() -> None:
    thread = FileThread("hung")
    release = threading.Event()
    ran: list[str] = []
    thread.submit(release.wait)
    with pytest.raises(TimeoutError):
        await thread.run(lambda: ran.append("too late"), 0.05)
    release.set()
    assert await thread.run(lambda: "in time", 5) == "in time"
    assert ran == []
