"""The receiver's audit log: what is in it, what is not, and that nothing is ever taken out of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from store.errors import StoreError
from tests.support.receiving import Desk, logs, make_csr, new_key, receiving
from uplink.receiver.audit import STRANGER, Action, By, Door, Line, lines
from uplink.receiver.founding import found, roll_over
from uplink.receiver.refusals import BURST, NOT_NOTED
from uplink.receiver.revoking import erase, revoke
from uplink.receiver.view import counts
from uplink.wire import est, names
from uplink.wire.otlp import Signal
from uplink.wire.private_file import PrivateFileError

ANN = By("ann", Door.COMMAND, "desk-7")


@pytest.fixture
async def desk(receiver_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    async with receiving(receiver_url, tmp_path / "receiver") as desk:
        yield desk


async def told(desk: Desk, organisation: str | None = None) -> list[Line]:
    """Oldest first."""
    return (await lines(desk.store, organisation, 1000))[::-1]


async def actions(desk: Desk) -> list[str]:
    return [line.action for line in await told(desk)]


def whose(line: Line) -> tuple[str, str, str | None, UUID | None]:
    return line.who, line.door, line.org_id, line.installation_id


async def test_a_life_of_an_installation_is_in_the_log(desk: Desk) -> None:
    identity = await desk.enrol()
    renewal = est.encode_csr(make_csr(new_key(), identity.installation, organisation="acme"))
    assert (await desk.post_csr(est.REENROLL, renewal, identity)).status == 200
    assert (await desk.post_csr(est.REENROLL, renewal, identity)).status == 200, "the same answer again is no act"
    assert (await desk.send(identity, logs("x").SerializeToString(), Signal.LOGS, uuid4())).status == 200
    assert (await desk.ask("DELETE", names.FORGET_PATH, identity)).status == 204
    assert (await desk.post_csr(est.REENROLL, renewal, identity)).status == 403
    made, issued, renewed, forgotten, refused = await told(desk)
    installation, operator = identity.installation, By.command()
    token = made.about["token"]
    assert whose(made) == (operator.who, "command", "acme", None)
    assert made.source == operator.source
    assert (issued.action, whose(issued)) == (Action.ISSUE, (f"token {token}", "est", "acme", installation))
    assert issued.source == "127.0.0.1"
    assert issued.about["serial"] == f"{identity.certificate.serial_number:x}"
    assert (renewed.action, whose(renewed)) == (Action.RENEW, (str(installation), "est", "acme", installation))
    assert (forgotten.action, whose(forgotten)) == (Action.FORGET, (str(installation), "otlp", "acme", installation))
    assert forgotten.about == {"batches": 1}
    assert (refused.action, whose(refused)) == (Action.REFUSE_RENEWAL, whose(renewed))
    assert refused.about["certificate"] == "forgotten"
    assert [line.at for line in (made, issued)] == [pytest.approx(desk.clock.now())] * 2


async def test_what_operators_do_is_in_the_log(desk: Desk) -> None:
    identity = await desk.enrol()
    secret, key = await desk.token("acme", needs_approval=True), new_key()
    csr = make_csr(key, waiting := uuid4())
    assert [(await desk.enrol_raw(csr, secret)).status for _ in range(3)] == [202] * 3
    activation = UUID((await told(desk))[-1].who.removeprefix("token "))
    assert await desk.activations.approve(activation, desk.clock.now())
    assert not await desk.activations.approve(activation, desk.clock.now())
    assert (await desk.enrol_raw(csr, secret)).status == 200
    assert await desk.activations.revoke(activation, desk.clock.now())
    assert await revoke(desk.store, f"{identity.certificate.serial_number:x}", desk.clock.now(), ANN) == 1
    assert await revoke(desk.store, str(uuid4()), desk.clock.now(), ANN) == 0
    assert await erase(desk.store, "acme", desk.clock.now(), ANN) == (1, 0)
    assert (await actions(desk))[2:] == [
        Action.CREATE_TOKEN,
        Action.WAIT,
        Action.APPROVE,
        Action.ISSUE,
        Action.REVOKE_TOKEN,
        Action.REVOKE,
        Action.ERASE,
        Action.FORGET,
        Action.FORGET,
    ]
    ended = (await told(desk))[-4]
    assert whose(ended) == ("ann", "command", "acme", identity.installation)
    assert {line.installation_id for line in (await told(desk))[-2:]} == {identity.installation, waiting}
    assert len(await told(desk, "umbrella")) == 0


async def test_refusals_name_the_token_that_was_shown_and_nothing_secret(desk: Desk) -> None:
    await desk.enrol()
    other = await desk.token("umbrella")
    for organisation, token in (("acme", "activate_" + "x" * 43), ("acme", other), ("a\n\x1b[31m" + "b" * 200, other)):
        assert (await desk.enrol_raw(make_csr(new_key(), uuid4()), token, organisation)).status == 401
    guessed, misused, odd = (await told(desk))[-3:]
    assert whose(guessed) == (STRANGER, "est", None, None)
    assert guessed.about["named"] == "acme"
    assert (misused.org_id, misused.about["status"]) == ("umbrella", 401)
    assert misused.who.startswith("token ")
    assert odd.about["named"].isprintable()
    assert len(odd.about["named"]) < 64
    rows = await desk.store.db.fetch("SELECT receiver_audit::text AS line FROM receiver_audit")
    assert not any(other in row["line"] or "activate_" in row["line"] for row in rows)


async def test_strangers_cant_fill_the_log_nor_keep_others_out_of_it(desk: Desk) -> None:
    refusals, csr = BURST + 7, make_csr(new_key(), uuid4())
    token = await desk.token()
    for n in range(refusals):
        if n % 15 == 0:
            desk.clock.advance(60)  # the door's own bound; the log's gets one more in that time
        assert (await desk.enrol_raw(csr, "activate_" + "x" * 43, "acme")).status == 401
    noted = (await actions(desk)).count(Action.REFUSE)
    assert BURST <= noted <= BURST + 5
    assert (await counts(desk.store))[NOT_NOTED] == refusals - noted
    desk.clock.advance(60)
    assert (await desk.enrol_raw(make_csr(new_key(), uuid4(), organisation="umbrella"), token)).status == 403
    assert (await told(desk))[-1].org_id == "acme"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE receiver_audit SET who = 'nobody'",
        "DELETE FROM receiver_audit WHERE id = 1",
        "DELETE FROM receiver_audit WHERE false",
        "TRUNCATE receiver_audit",
        "TRUNCATE receiver_audit, receiver_counts RESTART IDENTITY CASCADE",
    ],
)
async def test_nothing_is_changed_or_taken_out(desk: Desk, statement: str) -> None:
    await desk.enrol()
    before = await told(desk)
    with pytest.raises(StoreError, match="only added to"):
        await desk.store.db.execute(statement)
    desk.clock.advance(4000 * 86_400)
    await desk.receiver.retention.clean()
    assert await told(desk) == before


async def test_an_act_that_is_not_done_is_not_in_the_log(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(PrivateFileError, match="has a CA already"):
        await found(desk.store, tmp_path / "receiver/authority", "Second", desk.clock.now(), ANN)
    assert await told(desk) == []
    made = await found(desk.store, tmp_path / "other", "Second", desk.clock.now(), ANN)
    next_ = await roll_over(desk.store, tmp_path / "other", desk.clock.now(), ANN)
    created, rolled = await told(desk)
    assert created.about == {"name": "Second", "sha256": made.fingerprint}
    assert rolled.about == {"sha256": next_.fingerprint, "before": made.fingerprint}


async def test_where_the_log_cant_be_written_no_certificate_is_issued(desk: Desk) -> None:
    token, identity = await desk.token(), await desk.enrol()
    await desk.store.db.execute("ALTER TABLE receiver_audit ADD CONSTRAINT shut CHECK (false) NOT VALID")
    try:
        assert (await desk.enrol_raw(make_csr(new_key(), uuid4()), token)).status == 503
        renewal = make_csr(new_key(), identity.installation, organisation="acme")
        assert (await desk.post_csr(est.REENROLL, renewal, identity)).status == 503
        assert await desk.store.db.fetchval("SELECT count(*) FROM receiver_certificates") == 1
        assert (await desk.enrol_raw(make_csr(new_key(), uuid4()), "activate_" + "x" * 43)).status == 401
    finally:
        await desk.store.db.execute("ALTER TABLE receiver_audit DROP CONSTRAINT shut")


async def test_one_token_and_many_who_want_it_is_one_line_that_says_issued(desk: Desk) -> None:
    token = await desk.token()
    await asyncio.gather(*(desk.enrol_raw(make_csr(new_key(), uuid4()), token) for _ in range(4)))
    assert sorted((await actions(desk))[1:]) == [Action.ISSUE, *[Action.REFUSE] * 3]


def test_whoever_became_root_is_named_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert By.command().who == "ann as root"
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    assert By.command().who == "uid 4000000000"
