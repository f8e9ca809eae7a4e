"""Files that are not what they should be: each a problem with a remedy, none of them a hang."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.kubeconfigs import b64, ca_pem, client_pair, entry, first, kubeconfig, owned_by_another, write
from tests.support.need import need
from validator.credentials import CredentialError
from validator.discovery.kubeconfig import MAX_FILE_BYTES, KubeconfigSource
from validator.discovery.kubeconfig_sightings import parse_foreign_kubeconfig
from validator.discovery.source import Reading, Sighting
from validator.files import FileError, read_file
from validator.pem import ca_bundle
from validator.reasons import Reason

EXEC: dict[str, object] = {"exec": {"command": "/bin/false", "apiVersion": "client.authentication.k8s.io/v1"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config"


def mounted(path: Path, directory: str, text: str) -> None:
    """As the kubelet mounts a ConfigMap."""
    (path.parent / directory).mkdir()
    write(path.parent / directory / path.name, text)
    link(path, Path(directory, path.name))


def link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def nothing(path: Path) -> None:
    """Not there."""


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def circle(path: Path) -> None:
    path.symlink_to(path)


def socket_file(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def binary(path: Path) -> None:
    path.write_bytes(b"contexts: \xff\xfe")


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (nothing, "does not exist"),
        (dangling, "symlink to nothing"),
        (circle, "leads in a circle"),
        (Path.mkdir, "is a directory"),
        (os.mkfifo, "no regular file"),
        (socket_file, "can't be read"),
        (device, "no regular file"),
        (sparse, "larger than"),
        (binary, "no UTF-8 text, at byte 10"),
    ],
)
async def test_what_is_no_file_is_a_problem_and_no_hang(path: Path, make: Callable[[Path], object], says: str) -> None:
    make(path)
    reading = await first(KubeconfigSource(paths=[path]))
    assert reading.sightings == ()
    assert not reading.complete
    (problem,) = reading.problems
    assert problem.where == str(path)
    assert says in problem.message
    assert problem.remedy
    assert problem.entry is None


async def test_a_file_that_may_not_be_read_says_who_needs_access(path: Path) -> None:
    need(os.geteuid() == 0, "only root can take away its own rights and get them back")
    write(path, kubeconfig(entry("a")), mode=0o000)
    os.seteuid(65534)
    try:
        with pytest.raises(FileError, match="may not be read") as caught:
            read_file(path, 1000)
    finally:
        os.seteuid(0)
    assert "uid 65534" in caught.value.remedy


async def test_symlinks_are_followed_as_kubernetes_mounts_them(path: Path) -> None:
    mounted(path, "..data", kubeconfig(entry("a")))
    assert len((await first(KubeconfigSource(paths=[path]))).sightings) == 1


async def test_a_byte_order_mark_is_no_matter(path: Path) -> None:
    write(path, "\ufeff" + kubeconfig(entry("a")))
    assert len((await first(KubeconfigSource(paths=[path]))).sightings) == 1


# -- whose file it is


async def refused(sighting: Sighting) -> str:
    assert sighting.credential is not None
    with pytest.raises(CredentialError) as caught:
        await sighting.credential.fetch(0)
    assert caught.value.reason is Reason.CREDENTIAL_INVALID
    return caught.value.message


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444])
async def test_a_file_that_others_can_only_read_is_the_operators(path: Path, mode: int) -> None:
    write(path, kubeconfig(entry("a", EXEC)), mode)
    reading = await first(KubeconfigSource(paths=[path]))
    assert reading.sightings[0].credential is not None
    with pytest.raises(CredentialError, match="exit 1"):
        await reading.sightings[0].credential.fetch(0)


@pytest.mark.parametrize("mode", [0o664, 0o666, 0o602])
async def test_a_file_that_others_can_write_runs_nothing(path: Path, mode: int) -> None:
    write(path, kubeconfig(entry("a", EXEC), entry("b")), mode)
    a, b = (await first(KubeconfigSource(paths=[path]))).sightings
    message = await refused(a)
    assert "exec runs a program on the hub" in message
    assert f"its mode {mode:04o} lets others write it" in message
    assert b.credential is not None
    assert (await b.credential.fetch(0)).token == "token-of-b"


async def test_a_file_of_another_user_runs_nothing(path: Path) -> None:
    need(os.geteuid() == 0, "only root can give a file away")
    write(path, kubeconfig(entry("a", EXEC)))
    with owned_by_another(path):
        reading = await first(KubeconfigSource(paths=[path]))
    assert "belongs to uid 65534" in await refused(reading.sightings[0])


async def test_the_owner_of_the_target_counts_not_of_the_link(path: Path) -> None:
    need(os.geteuid() == 0, "only root can give a file away")
    target = write(path.with_name("target"), kubeconfig(entry("a", EXEC)))
    link(path, target)
    with owned_by_another(target):
        reading = await first(KubeconfigSource(paths=[path]))
    assert "belongs to uid 65534" in await refused(reading.sightings[0])


FOREIGN_USERS: list[tuple[str, dict[str, object]]] = [
    ("exec", EXEC),
    ("tokenFile", {"tokenFile": "/etc/shadow"}),
    ("tokenFile", {"tokenFile": "/etc/shadow", "token": "x"}),
    ("client-certificate", {"client-certificate": "/etc/shadow", "client-key": "/etc/shadow"}),
    ("client-key", {"client-certificate-data": "eA==", "client-key": "/etc/shadow"}),
    ("auth-provider", {"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/sh"}}}),
]


@pytest.mark.parametrize(("field", "user"), FOREIGN_USERS)
async def test_a_foreign_user_touches_nothing_of_the_hub(field: str, user: dict[str, object]) -> None:
    reading = foreign(kubeconfig(entry("a", user)))
    message = await refused(reading.sightings[0])
    assert field in message
    assert 'user "a" in shoot garden-x/y' in message


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("certificate-authority", {"certificate_authority": "/etc/ca.crt", "certificate_authority_data": None}),
        ("proxy-url", {"proxy_url": "http://169.254.169.254"}),
    ],
)
async def test_a_foreign_cluster_touches_nothing_of_the_hub(field: str, fields: dict[str, object]) -> None:
    reading = foreign(kubeconfig(entry("bad", None, **fields), entry("good")))
    assert [sighting.name for sighting in reading.sightings] == ["good"]
    (problem,) = reading.problems
    assert problem.entry == "bad"
    assert problem.where == 'shoot garden-x/y: context "bad"'
    assert field in problem.message
    assert "it came from elsewhere" in problem.message


async def test_a_foreign_kubeconfig_with_embedded_data_works() -> None:
    chain, key = client_pair()
    text = kubeconfig(entry("a", {"client-certificate-data": b64(chain), "client-key-data": b64(key)}))
    (sighting,) = foreign(text).sightings
    assert sighting.endpoint.ca_pem == ca_bundle(ca_pem())
    assert sighting.credential is not None
    assert (await sighting.credential.fetch(0)).client_certificate is not None


async def test_a_source_can_be_told_to_trust_nothing(path: Path) -> None:
    write(path, kubeconfig(entry("a", EXEC)))
    reading = await first(KubeconfigSource(paths=[path], trust="foreign"))
    assert "configured as foreign" in await refused(reading.sightings[0])


def foreign(text: str) -> Reading:
    return parse_foreign_kubeconfig(text, "shoot garden-x/y", "gardener")
