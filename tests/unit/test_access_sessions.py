"""One-time codes and sessions, by a clock that is told to move."""

from __future__ import annotations

import pytest

from muster.access.bucket import Bucket
from muster.access.sessions import CODE_S, MAX_SESSIONS, Sessions, TooManyAttempts, WrongCode
from validator.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sessions(clock: FakeClock) -> Sessions:
    return Sessions(clock, 3600.0)


def test_a_code_is_over_after_ten_minutes(sessions: Sessions, clock: FakeClock) -> None:
    code = sessions.new_code("ann")
    clock.advance(CODE_S - 1)
    assert sessions.exchange(code.text)[0].name == "ann"
    code = sessions.new_code("ann")
    clock.advance(CODE_S)
    with pytest.raises(WrongCode):
        sessions.exchange(code.text)


def test_a_session_is_over_when_its_time_is(sessions: Sessions, clock: FakeClock) -> None:
    _, cookie = sessions.exchange(sessions.new_code("ann").text)
    clock.advance(3599)
    assert sessions.find(cookie) is not None
    clock.advance(1)
    assert sessions.find(cookie) is None


def test_the_oldest_session_makes_room(sessions: Sessions) -> None:
    cookies = [sessions.exchange(sessions.new_code("ann").text)[1] for _ in range(MAX_SESSIONS + 1)]
    assert sessions.find(cookies[0]) is None
    assert all(sessions.find(cookie) for cookie in cookies[1:])


def test_wrong_codes_are_listened_to_now_and_then(sessions: Sessions, clock: FakeClock) -> None:
    for _ in range(10):
        with pytest.raises(WrongCode):
            sessions.exchange("guess")
    with pytest.raises(TooManyAttempts):
        sessions.exchange("guess")
    clock.advance(6.1)
    with pytest.raises(WrongCode):
        sessions.exchange("guess")


def test_what_is_secret_is_in_no_repr(sessions: Sessions) -> None:
    code = sessions.new_code("ann")
    session, cookie = sessions.exchange(code.text)
    assert code.text not in repr(code)
    assert session.csrf not in repr(session)
    assert cookie not in repr(vars(sessions))


def test_a_bucket_fills_no_further_than_its_burst() -> None:
    bucket = Bucket(2, 1.0)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(50.0)  # a clock that goes back gives nothing
