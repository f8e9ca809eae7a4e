"""Exec plugins, as real processes: what they are told, what they may answer, and that none of them is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.kubeconfigs import answer, client_pair, jwt, plugin
from tests.support.loops import on_both_loops
from validator.credential_sources.exec_plugin import REMEMBERED_S, RENEW_BEFORE_S, ExecCredential
from validator.credential_sources.plugin_protocol import environment
from validator.credential_sources.spec import ExecSpec, ExecVersion
from validator.credentials import CredentialError
from validator.reasons import Reason

NOW = 1_800_000_000.0
COUNT = "open('count', 'a').write('x')"

Make = Callable[..., ExecCredential]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A plugin of this body, run in a directory of its own."""
    monkeypatch.chdir(tmp_path)

    def made(body: str, *, deadline_s: float = 10.0, slots: int = 8, **fields: object) -> ExecCredential:
        program = str(plugin(tmp_path / "plugin", body))
        spec = ExecSpec(program, ExecVersion.V1, **fields)  # type: ignore[arg-type]
        environ = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "MUSTER_DATABASE_URL": "postgres://s3cret"}
        return ExecCredential('user "a" in config', spec, environ, asyncio.Semaphore(slots), deadline_s)

    return made


def runs() -> int:
    return len(Path("count").read_text()) if Path("count").exists() else 0


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def failure(source: ExecCredential, now: float = NOW) -> CredentialError:
    with pytest.raises(CredentialError) as caught:
        await source.fetch(now)
    assert caught.value.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert source.current(now) is None
    return caught.value


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - another process sets it
            await asyncio.sleep(0.01)


@on_both_loops
async def test_a_token_is_fetched_once_and_served_until_a_minute_before_its_end(make: Make) -> None:
    source = make(f"{COUNT}\n{answer(token='fresh', expirationTimestamp='2027-01-15T09:00:00Z')}")
    assert source.current(NOW) is None
    credential = await source.fetch(NOW)
    ends = credential.expires_at
    assert (credential.token, ends) == ("fresh", NOW + 3600)
    assert ends is not None
    assert source.current(ends - RENEW_BEFORE_S - 1) is credential
    assert source.current(ends - RENEW_BEFORE_S) is None
    assert runs() == 1


async def test_a_client_certificate_is_taken(make: Make) -> None:
    chain, key = client_pair()
    credential = await make(answer(clientCertificateData=chain, clientKeyData=key)).fetch(NOW)
    assert credential.token is None
    assert credential.client_certificate is not None
    assert credential.expires_at is not None


async def test_a_short_lived_token_is_served_for_half_its_life(make: Make) -> None:
    source = make(answer(token=jwt(exp=NOW + 40)))
    await source.fetch(NOW)
    assert source.current(NOW + 19)
    assert source.current(NOW + 20) is None


async def test_a_401_runs_it_again(make: Make) -> None:
    source = make(f"{COUNT}\n{answer(token='fresh')}")
    credential = await source.fetch(NOW)
    assert source.current(NOW + 1e6) is credential  # it said nothing of an end
    source.reject(credential)
    assert source.current(NOW) is None
    await source.fetch(NOW)
    assert runs() == 2


async def test_what_it_is_told(make: Make) -> None:
    said = "print(json.dumps({'env': dict(os.environ), 'args': sys.argv[1:], 'stdin': sys.stdin.read()}))"
    source = make(
        f"{said}\nopen('told', 'w').write({said[6:-1]})\nsys.exit(1)",
        args=("get", "token"),
        env=(("REGION", "eu"),),
        cluster_info={"server": "https://x", "config": {"a": "b"}},
    )
    await failure(source)
    told = json.loads(Path("told").read_text())  # noqa: ASYNC240 - a test's own small file
    assert told["args"] == ["get", "token"]
    assert told["stdin"] == ""
    environ = told["env"]
    assert (environ["REGION"], environ["HOME"]) == ("eu", "/nowhere")
    assert "MUSTER_DATABASE_URL" not in environ
    assert json.loads(environ["KUBERNETES_EXEC_INFO"]) == {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": {"server": "https://x", "config": {"a": "b"}}},
    }


def test_without_provide_cluster_info_no_cluster_is_told() -> None:
    told = environment(ExecSpec("x", ExecVersion.V1BETA1), {})["KUBERNETES_EXEC_INFO"]
    assert json.loads(told)["apiVersion"] == "client.authentication.k8s.io/v1beta1"
    assert "cluster" not in json.loads(told)["spec"]


# -- failures


@on_both_loops
@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("sys.stderr.write('no\\x1b[31m SSO\\nsession'); sys.exit(255)", "exit 255: no [31m SSO session"),
        ("sys.exit(3)", "exit 3, and nothing on stderr"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
        ("sys.stderr.write('x' * 100_000 + 'the end'); sys.exit(1)", "the end"),
        (f"sys.stderr.write('bad token {jwt(exp=1)}'); sys.exit(1)", "bad token [token]"),
        ("", "printed nothing"),
        ("print('s3cret')", "not one JSON object"),
        ("print('[' * 900_000)", "not one JSON object"),
        ("print('[]')", "not of the kind"),
        ("print(json.dumps({'kind': 'ExecCredential', 'apiVersion': 'v1'}))", "another apiVersion"),
        (answer().replace("status", "stat"), "no status"),
        (answer(), "neither a token nor a client certificate"),
        (answer(token=["s3cret"]), "status.token is no string"),
        (answer(token="two words"), "HTTP header"),
        (answer(token="x", expirationTimestamp="soon"), "no RFC 3339"),
        (answer(token="x", expirationTimestamp="2020-01-01T00:00:00Z"), "expired already"),
        (answer(clientCertificateData="s3cret", clientKeyData="s3cret"), "client certificate holds no PEM"),
        ("sys.stdout.write('x' * 2_000_000)", "more than a credential can be"),
    ],
)
async def test_a_failure_names_the_plugin_and_shows_no_secret(make: Make, body: str, says: str) -> None:
    error = await failure(make(body))
    assert error.message.startswith("exec plugin `")
    assert 'plugin` of user "a" in config: ' in error.message
    assert says in error.message
    assert "s3cret" not in error.message
    assert len(error.message) <= 500
    assert error.message.isprintable()


@on_both_loops
async def test_an_absent_plugin_says_how_to_install_it() -> None:
    spec = ExecSpec("no-such-plugin", ExecVersion.V1, install_hint="see https://example.com/install\n")
    source = ExecCredential('user "a"', spec, {"PATH": os.defpath}, asyncio.Semaphore(1))
    message = (await failure(source)).message
    assert message.startswith('exec plugin `no-such-plugin` of user "a": not found')
    assert message.endswith("see https://example.com/install")


@on_both_loops
@pytest.mark.parametrize("command", ["/etc/passwd", "/"])
async def test_a_file_that_can_not_be_run_is_a_failure(command: str) -> None:
    source = ExecCredential("user", ExecSpec(command, ExecVersion.V1), dict(os.environ), asyncio.Semaphore(1))
    assert "can't be started: Permission denied" in (await failure(source)).message


async def test_a_failure_is_remembered_for_a_while(make: Make) -> None:
    source = make(f"{COUNT}\nsys.exit(1)")
    for _ in range(5):
        await failure(source)
    assert runs() == 1
    await failure(source, NOW + REMEMBERED_S + 5)
    assert runs() == 2


# -- hanging ones

HANG = """
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
open('pids.new', 'w').write(f'{os.getpid()} {child.pid}')
os.replace('pids.new', 'pids')
"""


def pids() -> list[int]:
    return [int(word) for word in Path("pids").read_text().split()]


@on_both_loops
@pytest.mark.parametrize("end", ["time.sleep(600)", "sys.exit(0)"])
async def test_a_hanging_plugin_is_killed_with_its_children(make: Make, end: str) -> None:
    """Also when the plugin itself has ended, and a child keeps its stdout open."""
    message = (await failure(make(HANG + end, deadline_s=0.7))).message
    assert "has not ended within 0.7 s and was given up" in message
    await until(lambda: all(gone(pid) for pid in pids()))


@on_both_loops
async def test_a_plugin_that_ignores_sigterm_is_killed(make: Make) -> None:
    body = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{HANG}time.sleep(600)"
    await failure(make(body, deadline_s=0.7))
    await until(lambda: all(gone(pid) for pid in pids()))


@on_both_loops
async def test_a_cancelled_fetch_leaves_no_process(make: Make) -> None:
    source = make(HANG + "time.sleep(600)")
    task = asyncio.create_task(source.fetch(NOW))
    await until(Path("pids").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: all(gone(pid) for pid in pids()))


@on_both_loops
@pytest.mark.parametrize("turns", range(4))
async def test_a_fetch_cancelled_at_once_leaves_no_process(make: Make, turns: int) -> None:
    source = make("time.sleep(600)")
    others = {child.pid for child in psutil.Process().children()}  # of other tests: a database server, say
    task = asyncio.create_task(source.fetch(NOW))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: all(child.pid in others or gone(child.pid) for child in psutil.Process().children()))


@on_both_loops
async def test_an_endless_talker_is_stopped_early(make: Make) -> None:
    started = time.monotonic()
    await failure(make("while True: sys.stdout.write('x' * 65536)"))
    assert time.monotonic() - started < 5


# -- together


async def test_a_thousand_targets_of_one_plugin_run_it_once(make: Make) -> None:
    source = make(f"{COUNT}\ntime.sleep(0.2)\n{answer(token='fresh')}")
    answers = await asyncio.gather(*(source.fetch(NOW) for _ in range(1000)))
    assert len({id(credential) for credential in answers}) == 1
    assert runs() == 1


async def test_those_who_wait_for_a_failing_run_share_its_failure(make: Make) -> None:
    source = make(f"{COUNT}\ntime.sleep(0.2)\nsys.exit(1)")
    errors = await asyncio.gather(*(source.fetch(NOW) for _ in range(100)), return_exceptions=True)
    assert all(isinstance(error, CredentialError) for error in errors)
    assert runs() == 1


async def test_one_who_is_cancelled_while_fetching_does_not_fail_the_others(make: Make) -> None:
    source = make(f"{COUNT}\ntime.sleep(0.2)\n{answer(token='fresh')}")
    first, second = (asyncio.create_task(source.fetch(NOW)) for _ in range(2))
    await until(lambda: runs() == 1)
    first.cancel()
    assert (await second).token == "fresh"
    assert first.cancelled()


async def test_hanging_plugins_take_all_slots_and_the_next_one_says_so(make: Make, tmp_path: Path) -> None:
    slots = asyncio.Semaphore(1)
    spec = ExecSpec(str(plugin(tmp_path / "hangs", "time.sleep(600)")), ExecVersion.V1)
    hanging = ExecCredential("user h", spec, dict(os.environ), slots, 0.6)
    waiting = ExecCredential("user w", spec, dict(os.environ), slots, 0.3)
    first = asyncio.create_task(failure(hanging))
    await asyncio.sleep(0.05)
    assert "got no free plugin slot within 0.3 s" in (await failure(waiting)).message
    assert "has not ended" in (await first).message
    assert not slots.locked()
