"""Consent: off unless everything holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.telemetry import ANN, ENDPOINTS, NOW, OFFER, given, wanted
from uplink.client.consent.commitments import read_commitments
from uplink.client.consent.consent import (
    NOBODY,
    Impossible,
    Offer,
    TermsChanged,
    Word,
    decide,
    forbidden_by,
    give,
    narrowed,
    withdraw,
)
from uplink.client.consent.dictionary import Dictionary, Field
from uplink.client.consent.origin import origin
from uplink.client.consent.record import Endpoints
from uplink.client.consent.streams import Stream


def with_field(known: Dictionary, **changed: object) -> Dictionary:
    """A dictionary in which the metric `muster.fleet.flapping` is another one."""
    kind = known.kinds["muster.fleet.flapping"]
    field = replace(kind.field, **changed)  # type: ignore[arg-type]
    return replace(known, kinds={**known.kinds, kind.name: replace(kind, field=field)})


def with_another(known: Dictionary) -> Dictionary:
    kind = known.kinds["muster.fleet.flapping"]
    more: Field = replace(known.kinds["muster.verdicts"].attributes["check"], id="metric:muster.fleet.flapping:check")
    return replace(known, kinds={**known.kinds, kind.name: replace(kind, attributes={"check": more})})


def test_it_is_off_by_default() -> None:
    standing = decide(NOBODY, OFFER, {})
    assert (standing.word, standing.why) == (Word.OFF, "nobody has consented")
    assert not any(standing.allows(stream) for stream in Stream)


def test_a_consent_switches_on_its_streams_and_no_other() -> None:
    standing = decide(given(Stream.METRICS), OFFER, {})
    assert standing.word is Word.ON
    assert [stream for stream in Stream if standing.allows(stream)] == [Stream.METRICS]
    assert standing.streams[Stream.LOGS].why == "nobody has consented to this stream"


@pytest.mark.parametrize(
    "environ",
    [
        {"DO_NOT_TRACK": "1"},
        {"DO_NOT_TRACK": "true"},
        {"DO_NOT_TRACK": "please"},
        {"MUSTER_TELEMETRY": "off"},
        {"MUSTER_TELEMETRY": "OFF"},
        {"MUSTER_TELEMETRY": "0"},
        {"MUSTER_TELEMETRY": "fasle"},
    ],
)
def test_a_variable_beats_the_file_and_a_misspelt_prohibition_is_one(environ: dict[str, str]) -> None:
    standing = decide(given(), OFFER, environ)
    assert standing.word is Word.OFF
    assert next(iter(environ)) in standing.why
    assert not any(standing.allows(stream) for stream in Stream)
    with pytest.raises(Impossible, match="forbids"):
        give(wanted(), OFFER, environ, ANN, 1, NOW)


@pytest.mark.parametrize("environ", [{}, {"DO_NOT_TRACK": "0"}, {"DO_NOT_TRACK": ""}, {"MUSTER_TELEMETRY": "on"}])
def test_no_variable_switches_anything_on(environ: dict[str, str]) -> None:
    assert forbidden_by(environ) is None
    assert decide(NOBODY, OFFER, environ).word is Word.OFF
    assert decide(withdraw(ANN, 2, NOW), OFFER, environ).word is Word.OFF
    assert decide(given(), OFFER, environ).word is Word.ON


@pytest.mark.parametrize(
    "changed",
    [{"purpose": "To sell it."}, {"retention": "for ever"}, {"classification": "customer"}, {"unit": "{person}"}],
)
def test_a_field_that_means_something_else_suspends_its_stream_alone(changed: dict[str, object]) -> None:
    standing = decide(given(), replace(OFFER, dictionary=with_field(OFFER.dictionary, **changed)), {})
    assert standing.word is Word.ON
    assert [stream for stream in Stream if standing.allows(stream)] == [Stream.LOGS, Stream.INVENTORY]
    assert "metric:muster.fleet.flapping" in standing.streams[Stream.METRICS].why


def test_a_new_field_suspends_its_stream_and_consent_again_takes_it_up() -> None:
    offer = replace(OFFER, dictionary=replace(with_another(OFFER.dictionary), version="2"))
    standing = decide(given(Stream.METRICS), offer, {})
    assert standing.word is Word.SUSPENDED
    assert "metric:muster.fleet.flapping:check" in standing.why
    assert standing.given is None
    again = give(replace(wanted(Stream.METRICS), dictionary_version="2"), offer, {}, ANN, 2, NOW)
    assert decide(again, offer, {}).allows(Stream.METRICS)


def test_a_field_that_is_gone_or_has_another_example_suspends_nothing() -> None:
    fewer = {name: kind for name, kind in OFFER.dictionary.kinds.items() if name != "muster.fleet.flapping"}
    for dictionary in (replace(OFFER.dictionary, kinds=fewer), with_field(OFFER.dictionary, example="3")):
        assert decide(given(), replace(OFFER, dictionary=dictionary), {}).allows(Stream.METRICS)


@pytest.mark.parametrize(
    "offer",
    [
        replace(OFFER, commitments=read_commitments(OFFER.commitments.text.encode() + b"And more.\n")),
        replace(OFFER, organisation="another"),
        replace(
            OFFER, endpoints=Endpoints(register_url=ENDPOINTS.register_url, ingest_url="https://elsewhere.example")
        ),
        replace(OFFER, endpoints=None),
    ],
    ids=["commitments", "organisation", "host", "no-host"],
)
def test_other_commitments_another_organisation_and_another_host_suspend_everything(offer: Offer) -> None:
    standing = decide(given(), offer, {})
    assert standing.word is Word.SUSPENDED
    assert not any(standing.allows(stream) for stream in Stream)
    assert all(each.why == standing.why for each in standing.streams.values())


def test_h29_an_endpoint_that_was_added_to_a_consent_without_network_takes_a_new_consent() -> None:
    offline = replace(OFFER, endpoints=None)
    record = give(wanted(), offline, {}, ANN, 1, NOW)
    assert decide(record, offline, {}).word is Word.ON
    assert decide(record, OFFER, {}).word is Word.SUSPENDED


def test_every_consent_has_ids_and_a_key_of_its_own() -> None:
    one, other = given(), given()
    assert one.installation_id != other.installation_id
    assert one.consent_id != other.consent_id
    assert one.pseudonym_key != other.pseudonym_key
    assert one.pseudonym_key not in repr(one)


@pytest.mark.parametrize(
    ("change", "offer", "says"),
    [
        ({"commitments_sha256": "0" * 64}, OFFER, "read the commitments"),
        ({"dictionary_version": "0"}, OFFER, "read the commitments"),
        ({"streams": frozenset()}, OFFER, "no stream"),
        ({"streams": frozenset({Stream.LOGS}), "free_text": frozenset({Stream.METRICS})}, OFFER, "not among"),
        ({}, replace(OFFER, organisation=None), "no organisation"),
        ({}, replace(OFFER, organisation="Ac me"), "a-z"),
    ],
)
def test_a_consent_that_makes_no_sense_is_refused(change: dict[str, object], offer: Offer, says: str) -> None:
    with pytest.raises(Impossible, match=says) as refused:
        give(replace(wanted(), **change), offer, {}, ANN, 1, NOW)  # type: ignore[arg-type]
    assert isinstance(refused.value, TermsChanged) == (says == "read the commitments")


def test_h10_a_stream_that_was_taken_out_is_consented_to_no_more() -> None:
    left = narrowed(given(), frozenset({Stream.LOGS}), 2)
    assert decide(left, OFFER, {}).streams[Stream.LOGS].consented is False
    assert left.epoch == 2
    with pytest.raises(Impossible, match="no stream would be left"):
        narrowed(left, frozenset(Stream), 3)


@pytest.mark.parametrize(
    ("url", "as_"),
    [
        ("https://Ingest.Example.com/", "https://ingest.example.com"),
        ("https://ingest.example.com:443/v/", "https://ingest.example.com/v"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
    ],
)
def test_an_endpoint_has_one_form(url: str, as_: str) -> None:
    assert origin(url) == as_


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "https://user:secret@a.example",
        "https://a.example?x",
        "https://",
        "a",
        "https://[",
        "https://a:x",
    ],
)
def test_an_endpoint_that_is_none_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="https://host") as refused:
        origin(url)
    assert "secret" not in str(refused.value)
