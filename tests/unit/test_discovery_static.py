"""The source `static`: strict about every key, and quick with a large fleet."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.support.kubeconfigs import SERVER, Reader, b64, ca_pem, client_pair, first, write
from validator.credentials import CredentialError
from validator.discovery.source import Reading, SourceProblem
from validator.discovery.static import StaticSource
from validator.pem import ca_bundle
from validator.reasons import Reason


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clusters.yaml"


async def read(path: Path, text: str, mode: int = 0o600) -> Reading:
    write(path, text, mode)
    return await first(StaticSource(path))


async def read_one(path: Path, mode: int = 0o600, /, **fields: object) -> Reading:
    given = {key.replace("_", "-"): value for key, value in fields.items()}
    return await read(path, json.dumps({"clusters": [{"name": "a", "server": SERVER, **given}]}), mode)


def the_problem(reading: Reading) -> SourceProblem:
    assert len(reading.problems) == 1, reading.problems
    assert reading.problems[0].remedy
    return reading.problems[0]


async def test_the_example_of_the_manual(path: Path) -> None:
    """The first YAML block of docs/sources.md."""
    manual = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
    example = manual.split("```yaml\n")[1].split("```")[0]
    write(path.parent / "eu-1.crt", ca_pem())
    reading = await read(path, example.replace("(the PEM text)", ca_pem().replace("\n", "\n      ")))
    assert [problem.message for problem in reading.problems] == []
    assert [sighting.name for sighting in reading.sightings] == ["eu-1", "eu-2", "us-1", "lab"]
    eu1 = reading.sightings[0]
    assert eu1.labels == {"region": "eu", "example.com/tier": "gold"}
    assert eu1.endpoint.ca_pem == ca_bundle(ca_pem())
    assert reading.sightings[3].endpoint.insecure
    assert reading.sightings[3].credential is None


@pytest.mark.parametrize("encode", [str, b64])
async def test_a_ca_is_pem_or_base64(path: Path, encode: type[str]) -> None:
    reading = await read_one(path, certificate_authority_data=encode(ca_pem()))
    assert reading.sightings[0].endpoint.ca_pem == ca_bundle(ca_pem())


async def test_a_client_certificate_is_read_from_its_files(path: Path) -> None:
    chain, key = client_pair()
    write(path.parent / "me.crt", chain)
    write(path.parent / "me.key", key)
    reading = await read_one(path, credential={"clientCertificate": "me.crt", "clientKey": "me.key"})
    source = reading.sightings[0].credential
    assert source is not None
    assert source.current(0) is None
    assert (await source.fetch(0)).client_certificate is not None


@pytest.mark.parametrize(
    ("fields", "says", "remedy"),
    [
        ({"sever": "x"}, "sever is not known", "Did you mean server?"),
        ({"label": {}}, "label is not known", "Did you mean labels?"),
        ({"xyzzy": {}}, "xyzzy is not known", "Known are: name, server"),
        ({"proxy-url": "http://p"}, "proxy-url is not known", ""),
        ({"credential": {"tokenfile": "x"}}, "credential.tokenfile is not known", "credential.tokenFile?"),
        ({"credential": {"token": "s3cret"}}, "a token is not accepted", "tokenFile"),
        ({"credential": {}}, "none of tokenFile", "exactly one"),
        ({"credential": {"tokenFile": "a", "exec": {"command": "x"}}}, "tokenFile and exec", "exactly one"),
        ({"credential": {"clientCertificate": "a"}}, "go together", ""),
        ({"credential": {"exec": {"comand": "x"}}}, "credential.exec.comand", "credential.exec.command?"),
        ({"credential": "s3cret"}, "credential is no mapping", ""),
        ({"labels": []}, "labels is no mapping", ""),
        ({"labels": {"a": True}}, "value of a is no text", "quotes"),
        ({"labels": {"-a": "x"}}, "no label key", ""),
        ({"labels": {"a": "x" * 64}}, "no label value", ""),
        ({"labels": {"a": "x y"}}, "no label value", ""),
        ({"labels": {"UPPER/a": "x"}}, "no label key", ""),
        ({"labels": {f"l{n}": "x" for n in range(65)}}, "more than 64", ""),
        ({"server": "http://x"}, "clear text", ""),
        ({"certificate-authority": "gone"}, "certificate-authority: ", ""),
        ({"certificate-authority": "gone", "certificate-authority-data": "x"}, "has both", ""),
        ({"certificate-authority-data": "s3cret!"}, "no base64", ""),
    ],
)
async def test_a_bad_entry_is_named_with_its_field(
    path: Path, fields: dict[str, object], says: str, remedy: str
) -> None:
    problem = the_problem(await read_one(path, 0o600, **fields))
    assert problem.entry == "a"
    assert problem.where == f'{path}: cluster "a"'
    assert says in problem.message
    assert remedy in problem.remedy
    assert "s3cret" not in f"{problem}"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("- name: a\n", "is no mapping"),
        ("cluster: []\n", "cluster is not known"),
        ("{}", "has no `clusters:`"),
        ("clusters: {}\n", "clusters is no list"),
        ("clusters: [x]\n", "is no mapping"),
        ("clusters: [{server: x}]\n", "has no name"),
        ("clusters:\n- name: a\n  name: b\n", "line 3: the key 'name' is there twice"),
        ("clusters:\n- name: a\n server", "line"),
    ],
)
async def test_a_bad_file_is_an_incomplete_reading(path: Path, text: str, says: str) -> None:
    reading = await read(path, text)
    assert not reading.complete
    assert says in the_problem(reading).message


async def test_two_of_one_name_are_ambiguous(path: Path) -> None:
    twice = [{"name": name, "server": SERVER} for name in ("a", "b", "a")]
    reading = await read(path, json.dumps({"clusters": twice}))
    assert [sighting.name for sighting in reading.sightings] == ["b"]
    assert the_problem(reading).entry == "a"


async def test_an_empty_fleet_is_complete(path: Path) -> None:
    assert await read(path, "clusters: []") == Reading(())


async def test_a_list_that_others_can_write_runs_nothing(path: Path) -> None:
    plugin = {"command": "/bin/true", "apiVersion": "client.authentication.k8s.io/v1"}
    reading = await read_one(path, 0o666, credential={"exec": plugin})
    source = reading.sightings[0].credential
    assert source is not None
    with pytest.raises(CredentialError, match="exec runs a program") as caught:
        await source.fetch(0)
    assert caught.value.reason is Reason.CREDENTIAL_INVALID


async def test_clusters_come_and_go_and_the_others_stay_as_they_are(path: Path) -> None:
    listed = [{"name": name, "server": SERVER, "credential": {"tokenFile": name}} for name in ("a", "b", "c")]
    write(path, json.dumps({"clusters": listed[:2]}))
    reader = Reader(StaticSource(path, poll_s=0.02))
    before = await reader.next()
    write(path, json.dumps({"clusters": listed[1:]}))
    after = await reader.next()
    await reader.close()
    assert [sighting.name for sighting in after.sightings] == ["b", "c"]
    assert after.sightings[0] == before.sightings[1]
    assert after.sightings[0].credential is before.sightings[1].credential


async def test_ten_thousand_entries_with_a_ca_take_seconds(path: Path) -> None:
    ca = b64(ca_pem())
    listed = [
        {"name": f"c{n}", "server": f"https://c{n}.example", "certificate-authority-data": ca, "labels": {"n": str(n)}}
        for n in range(10_000)
    ]
    text = json.dumps({"clusters": listed})
    started = time.monotonic()
    reading = await read(path, text)
    assert len(reading.sightings) == 10_000
    assert time.monotonic() - started < 15  # 2 s on the machine that this was written on


async def test_a_broken_last_entry_may_be_the_end_of_a_file_that_is_cut_off(path: Path) -> None:
    entries = [{"name": name, "server": SERVER} for name in ("a", "b")]
    assert (await read(path, json.dumps({"clusters": [{"name": "a", "server": "x"}, *entries[1:]]}))).complete
    assert not (await read(path, json.dumps({"clusters": [*entries[:1], {"name": "b", "server": "x"}]}))).complete
