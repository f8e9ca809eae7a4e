"""The CA and its files."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from tests.support.receiving import new_key
from uplink.receiver.authority import BACKDATE_S, Authority
from uplink.wire.identity import installation_of, organisation_of
from uplink.wire.private_file import PrivateFileError, write_private

NOW = time.time()


def test_a_ca_comes_back_from_its_files(tmp_path: Path) -> None:
    directory = tmp_path / "authority"
    created = Authority.create(directory, "Test", NOW)
    loaded = Authority.load(directory)
    assert loaded.bundle == created.bundle
    assert loaded.key.private_numbers() == created.key.private_numbers()
    with pytest.raises(PrivateFileError, match="a CA already"):
        Authority.create(directory, "Test", NOW)


def test_a_clients_certificate_says_what_we_say_and_lives_no_longer_than_allowed() -> None:
    authority, installation = Authority.new("Test", NOW), uuid4()
    leaf = authority.sign_client(new_key().public_key(), "acme", installation, NOW, 365)
    assert (organisation_of(leaf), installation_of(leaf)) == ("acme", installation)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(days=30)
    assert leaf.not_valid_before_utc.timestamp() == int(NOW) - BACKDATE_S
    assert leaf.serial_number.bit_length() > 100


def test_after_a_roll_over_old_and_new_anchors_lead_to_old_and_new_certificates(tmp_path: Path) -> None:
    directory = tmp_path / "authority"
    old = Authority.create(directory, "Test", NOW)
    before = old.sign_client(new_key().public_key(), "acme", uuid4(), NOW, 7)
    new = old.rolled(NOW)
    new.save(directory)
    assert Authority.load(directory).issuer == new.issuer
    after = new.sign_client(new_key().public_key(), "acme", uuid4(), NOW, 7)
    root, new_with_old, old_with_new, former = new.bundle
    assert former == old.issuer
    for anchor, link, leaf in ((former, new_with_old, after), (root, old_with_new, before), (root, root, after)):
        chain = PolicyBuilder().store(Store([anchor])).build_client_verifier().verify(leaf, [link])
        assert chain.chain[-1] == anchor
    served = x509.load_pem_x509_certificates(new.sign_server(["localhost"], NOW).split(b"-----END PRIVATE KEY-----")[1])
    assert served[1:] == [new_with_old], "who trusts the old root can check us"


def test_a_crash_in_the_middle_of_a_roll_over_leaves_a_ca_that_works(tmp_path: Path) -> None:
    directory = tmp_path / "authority"
    old = Authority.create(directory, "Test", NOW)
    key = (directory / "ca.key").read_bytes()
    old.rolled(NOW).save(directory)
    write_private(directory / "ca.key", key)  # the key of before, the certificates of after
    assert Authority.load(directory).issuer == old.issuer


def test_a_key_that_is_not_its_certificates_is_refused(tmp_path: Path) -> None:
    Authority.create(tmp_path / "a", "Test", NOW)
    Authority.create(tmp_path / "b", "Test", NOW)
    write_private(tmp_path / "a/ca.key", (tmp_path / "b/ca.key").read_bytes())
    with pytest.raises(PrivateFileError, match="belong together"):
        Authority.load(tmp_path / "a")
    write_private(tmp_path / "a/ca.key", b"nonsense")
    with pytest.raises(PrivateFileError, match="Restore"):
        Authority.load(tmp_path / "a")
