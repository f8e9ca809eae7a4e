"""The data dictionary and the commitments: whole, and of the version that they say."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from tests.support.telemetry import OFFER
from uplink.client.consent.commitments import PAGE, commitments, read_commitments
from uplink.client.consent.dictionary import Classification, DictionaryError, Field, Type, dictionary, read_dictionary
from uplink.client.consent.streams import Stream
from uplink.client.encoding.values import fits
from uplink.wire import names
from validator.locations import Environment, Provider
from validator.model import Lifecycle
from validator.reasons import Health

ROOT = Path(__file__).parents[2]

FIELDS: dict[str, Field] = {field.id: field for stream in Stream for field in dictionary().of(stream)}

VERSIONS = {"1": "7cd61300716970ef616ef6d58b32d3fadc78a2086d61b11e577528604b66559b"}
"""What each version consisted of. A change of what somebody consents to is a new version: add a line."""

COMMITMENTS = {"1": "80c0570c4c4edbdb8f9aa32495d06a3e8973de0bd938f4062bff4d858e578301"}
"""The same for the commitments."""


def test_a_version_says_what_it_says_for_ever() -> None:
    said = json.dumps(sorted((field.id, field.digest) for field in FIELDS.values()))
    assert VERSIONS[dictionary().version] == hashlib.sha256(said.encode()).hexdigest(), "raise `version`"
    assert COMMITMENTS[commitments().version] == commitments().sha256, "raise `Version N.`"


@pytest.mark.parametrize("own", FIELDS)
def test_every_field_says_what_it_is_and_its_example_is_one(own: str) -> None:
    field = FIELDS[own]
    assert field.purpose.endswith(".")
    assert field.retention.endswith(" days")
    if field.type is Type.INT:
        assert fits(field, int(field.example))
    elif field.type is Type.BOOL:
        assert field.example in {"true", "false"}
    else:
        assert fits(field, field.example)
    assert (field.classification is Classification.CUSTOMER) == (
        field.type in {Type.NAME, Type.TEXT, Type.ORGANISATION}
    )


def test_lists_of_words_are_those_of_the_fleet() -> None:
    def values(attribute: str) -> set[str]:
        return {value for field in FIELDS.values() if field.name == attribute for value in field.values}

    assert values("health") == values("from") == values("to") == set(Health)
    assert values("muster.cluster.lifecycle") == set(Lifecycle)
    assert values("muster.location.provider") == set(Provider)
    assert values("muster.location.environment") == set(Environment)


def test_names_that_both_sides_know_are_in_it() -> None:
    assert {names.ORGANISATION, names.INSTALLATION, names.CONSENT, names.DICTIONARY} <= dictionary().resource.keys()
    assert dictionary().kinds[names.CLUSTER_INFO].stream is Stream.INVENTORY
    assert dictionary().kinds[names.CLUSTER_HEALTH].stream is Stream.METRICS
    assert {names.CLUSTER_UID, names.HEALTH} <= dictionary().kinds[names.CLUSTER_HEALTH].attributes.keys()


def test_a_dictionary_that_contradicts_itself_is_refused() -> None:
    text = (ROOT / "uplink/client/consent/dictionary.toml").read_text()
    for old, new in (
        ('attributes = ["health"]', 'attributes = ["healthy"]'),
        ('kind = "cluster"\n', ""),
        ('type = "bool"', 'type = "anything"'),
        ('values = ["muster"]\n', ""),
    ):
        assert old in text
        with pytest.raises(DictionaryError):
            read_dictionary(text.replace(old, new))


def test_the_digest_of_the_commitments_is_that_of_the_page_in_the_repository() -> None:
    assert hashlib.sha256((ROOT / PAGE).read_bytes()).hexdigest() == OFFER.commitments.sha256
    with pytest.raises(ValueError, match="Version"):
        read_commitments(b"# We promise nothing")
