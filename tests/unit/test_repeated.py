"""A server that repeats the credential: the text is left out, and nothing else."""

from __future__ import annotations

from validator.answer import Fact
from validator.model import Check, Outcome
from validator.repeated import LEFT_OUT, without_token

TOKEN = "Canary-" + "x" * 60


def fact(message: str, **evidence: str | float) -> Fact:
    return Fact(Check.APISERVER, Outcome.FAIL, message=message, evidence=evidence)


def test_what_repeats_the_token_is_left_out_also_cut_short_and_in_lower_case() -> None:
    said = fact(f"500 to /readyz; failing: {TOKEN}", failing_checks=TOKEN[:40], host=f"{TOKEN.lower()}.example")
    [told] = without_token([said], TOKEN)
    assert told.message == LEFT_OUT
    assert told.evidence == {"failing_checks": LEFT_OUT, "host": LEFT_OUT}


def test_everything_else_stays() -> None:
    said = fact("500 to /readyz", status=500, address="127.0.0.1", version=TOKEN)
    [told] = without_token([said], TOKEN)
    assert told.message == said.message
    assert told.evidence == {"status": 500, "address": "127.0.0.1", "version": LEFT_OUT}
    harmless = fact("500 to /readyz", status=500)
    assert without_token([harmless], TOKEN)[0] is harmless
    assert without_token([said], None) == (said,)


def test_a_token_that_may_be_a_word_is_not_looked_for() -> None:
    said = fact("/readyz says ok")
    assert without_token([said], "ok") == (said,)
