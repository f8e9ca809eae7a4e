"""The demo has a receiver beside it: off at first, on and off again by the very commands that the demo prints."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.need import need
from tests.support.service import Json, dying_with_us, embedded_url, environment, own_directory, rows, until
from tests.support.traced import Trace

CLUSTERS = 12

ARRIVES_S = 10.0
"""What is promised, with the commands that ask."""

QUIET_S = 3.0


@dataclass
class Demo:
    """`muster demo` without its screen."""

    process: subprocess.Popen[bytes]
    script: Path
    said: str
    """What the script prints."""
    trace: Trace
    """Of all its processes: only the service connects to the receiver."""

    @property
    def directory(self) -> Path:
        return self.script.parent

    @property
    def data(self) -> Path:
        """The service's."""
        return self.directory.parent / "data"

    def run(self, command: str) -> str:
        """A line in a shell that has read the script; it has to succeed."""
        done = subprocess.run(
            ["sh", "-c", f". {self.script} > /dev/null; {command}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env=environment({"MUSTER_TOKEN_FILE": "of-another-service", "MUSTER_SERVER": "http://127.0.0.1:1"}),
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def printed(self, words: str) -> str:
        """The command that begins so, as it is printed, without what is said of it."""
        (found,) = re.findall(rf"^  ({words}.*?)(?: {{3,}}.*)?$", re.sub(r"\\\n +", "", self.said), re.MULTILINE)
        return str(found)

    def document(self, command: str) -> Json:
        document: Json = json.loads(self.run(f"{command} -o json"))
        return document

    def on(self) -> str:
        """As printed; the digest answers in place of a person."""
        sha = self.document("muster telemetry terms")["commitments_sha256"]
        return self.run(f"{self.printed('muster telemetry on')} --commitments {sha}")

    def show(self) -> Json:
        return self.document(self.printed("muster receiver show"))

    def asked(self, after: int = 0) -> bool:
        """Whether the receiver was asked for a connection."""
        port = urlsplit(self.document("muster telemetry terms")["ingest_url"]).port
        return any(each.port == port for each in self.trace.called(after))

    def processes(self) -> list[psutil.Process]:
        """Of the receiver."""
        return [
            each
            for each in psutil.Process(self.process.pid).children(recursive=True)
            if "muster.demo.receiver" in each.cmdline()
        ]


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    options = ("--clusters", str(CLUSTERS), "--dead", "0.3", "--seed", "7", "--listen", "127.0.0.1:0")
    need(shutil.which("strace"), "strace shows what a process asks of the kernel")
    with own_directory() as own, (own / "log").open("wb") as log:
        trace = Trace(own / "trace")
        process = subprocess.Popen(
            dying_with_us(*trace.command, sys.executable, "-m", "muster.demo.service", *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment({"TMPDIR": str(own)}),
        )
        assert process.stdout is not None
        try:
            assert "url" in json.loads(process.stdout.readline())
            script = Path(json.loads(process.stdout.readline())["script"])
            said = subprocess.run(["sh", script], capture_output=True, text=True, timeout=10, check=True).stdout
            yield Demo(process, script, said, trace)
        finally:
            process.terminate()
            process.wait(15)
            process.stdout.close()
            sys.stdout.write((own / "log").read_text(errors="replace")[-3000:])


def test_it_is_off_and_nobody_has_asked_the_receiver_for_anything(demo: Demo) -> None:
    assert demo.document("muster telemetry status")["state"] == "off"
    assert demo.document(demo.printed("muster telemetry preview"))["placeholder"]
    shown = demo.show()
    assert (shown["installations"], shown["clusters"], shown["stored_bytes"]) == ([], [], 0)
    assert not demo.asked()
    for name in ("try.sh", "activation.token", "authority/ca.key"):
        assert stat.S_IMODE((demo.directory / name).stat().st_mode) == 0o600
    trust = ssl.create_default_context(cafile=str(demo.directory / "authority/ca.crt"))
    url = demo.document("muster telemetry terms")["ingest_url"]
    with urllib.request.urlopen(f"{url}/.well-known/est/cacerts", context=trust, timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.slow
def test_on_shows_data_within_ten_seconds_and_off_is_silence(demo: Demo) -> None:
    asked = time.monotonic()
    assert "Telemetry is on." in demo.on()
    left_s = ARRIVES_S - (time.monotonic() - asked)
    until(lambda: len(demo.show()["clusters"]) >= CLUSTERS, left_s, "the clusters are known there")
    assert "name=cluster-" in demo.run(demo.printed("muster receiver show")), "for people, and by a hash"

    assert "Telemetry is off" in demo.run(demo.printed("muster telemetry off"))
    received, then = demo.show(), demo.trace.size()
    assert demo.asked(), "the trace is not blind"
    time.sleep(QUIET_S)
    assert not demo.asked(then)
    assert demo.show() == received, "nor did anything come by a connection that stood"
    (row,) = rows(embedded_url(demo.data), "SELECT count(*) AS n FROM uplink_spool")
    assert row["n"] == 0
    assert [path for path in (demo.data / "telemetry/identity").glob("*") if path.stat().st_size] == []

    demo.run(demo.printed("muster receiver token create"))
    assert stat.S_IMODE((demo.directory / "activation.token").stat().st_mode) == 0o600
    demo.on()
    until(
        lambda: sum(each["batches"] > 0 for each in demo.show()["installations"]) == 2, ARRIVES_S, "again, as another"
    )
    demo.run(demo.printed("muster telemetry off"))


def test_the_receiver_dies_with_a_service_that_is_killed(demo: Demo) -> None:
    receivers = demo.processes()
    assert len(receivers) == 1
    os.kill(demo.process.pid, 9)
    until(lambda: not any(each.is_running() for each in receivers), 5, "the receiver has ended")
