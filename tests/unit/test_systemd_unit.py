"""The unit: what systemd itself says of it, and what the service relies on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "deploy/systemd/muster.service"


def service() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    section = UNIT.read_text().partition("[Service]")[2].partition("[Install]")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def one(name: str) -> str:
    (value,) = service()[name]
    return value


def test_it_tells_readiness_reloads_and_the_watchdog() -> None:
    assert one("Type") == "notify"
    assert one("NotifyAccess") == "main"
    assert one("ExecReload") == "/bin/kill -HUP $MAINPID"
    assert int(one("WatchdogSec").removesuffix("s")) >= 30, "a busy machine is no hang"
    assert int(one("TimeoutStopSec").removesuffix("s")) > 5, "the service promises to be gone in five"
    assert one("KillMode") == "mixed", "PostgreSQL is the service's to stop"
    assert int(one("LimitNOFILE")) >= 65536
    assert one("Restart") == "on-failure"


def test_it_may_do_little() -> None:
    assert one("User") == "muster"
    assert one("ProtectSystem") == "strict"
    assert one("CapabilityBoundingSet") == ""
    for name in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "ProtectKernelTunables", "RestrictSUIDSGID"):
        assert one(name) == "yes", name
    assert one("UMask") == "0077"


def test_what_it_writes_is_where_systemd_lets_it() -> None:
    variables = dict(value.split("=", 1) for value in service()["Environment"])
    assert variables["MUSTER_DATA_DIR"] == f"/var/lib/{one('StateDirectory')}"
    assert variables["MUSTER_RUNTIME_DIR"] == f"/run/{one('RuntimeDirectory')}"
    assert variables["MUSTER_CONFIG"].startswith(f"/etc/{one('ConfigurationDirectory')}/")
    assert one("RuntimeDirectoryMode") == one("StateDirectoryMode") == "0700"


def test_systemd_takes_it(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd here")
    here = tmp_path / UNIT.name
    text = UNIT.read_text().replace("/opt/muster/bin/muster", sys.executable)
    here.write_text(re.sub(r"^(User|Group)=.*$", r"\1=root", text, flags=re.MULTILINE))
    done = subprocess.run(
        [program, "verify", "--man=no", here], capture_output=True, text=True, timeout=50, check=False
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]
    assert ours == []
    here.write_text(text.replace("WatchdogSec=60s", "WatchdogSec=often"))
    broken = subprocess.run(
        [program, "verify", "--man=no", here], capture_output=True, text=True, timeout=50, check=False
    )
    assert f"{UNIT.name}:" in broken.stdout + broken.stderr, "this test could not fail"
