"""The source `kubeconfig`: kubectl's rules, every entry by itself, every complaint with its place and remedy."""

from __future__ import annotations

import base64
import json
import os
import time
from pathlib import Path

import pytest

from tests.support.kubeconfigs import (
    PYTHON,
    b64,
    ca_pem,
    client_pair,
    cluster,
    entry,
    first,
    kubeconfig,
    plugin,
    write,
)
from validator.credentials import Credential, CredentialError, CredentialSource
from validator.discovery.kubeconfig import KubeconfigSource, kubeconfig_paths
from validator.discovery.kubeconfig_text import MAX_ENTRIES
from validator.discovery.source import Reading, Sighting, SourceProblem
from validator.pem import ca_bundle
from validator.reasons import Reason

NOW = 1_800_000_000.0


async def read(path: Path, text: str, **options: object) -> Reading:
    write(path, text)
    return await first(KubeconfigSource(paths=[path], **options))  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config"


def only(reading: Reading) -> Sighting:
    assert [problem.message for problem in reading.problems] == []
    assert len(reading.sightings) == 1
    return reading.sightings[0]


def the_problem(reading: Reading) -> SourceProblem:
    assert len(reading.problems) == 1, reading.problems
    assert reading.problems[0].remedy
    return reading.problems[0]


async def credential_of(sighting: Sighting) -> Credential:
    assert sighting.credential is not None
    return await sighting.credential.fetch(NOW)


async def refusal(source: CredentialSource | None) -> CredentialError:
    assert source is not None
    assert source.current(NOW) is None
    with pytest.raises(CredentialError) as caught:
        await source.fetch(NOW)
    assert len(caught.value.message) <= 500
    return caught.value


async def test_a_whole_entry(path: Path) -> None:
    chain, key = client_pair()
    user = {"token": "t0ken", "client-certificate-data": b64(chain), "client-key-data": b64(key)}
    text = kubeconfig(entry("prod", user, tls_server_name="Kubernetes.", proxy_url="http://me:p%40ss@proxy:3128"))
    sighting = only(await read(path, text))

    assert (sighting.name, sighting.source) == ("prod", "kubeconfig")
    endpoint = sighting.endpoint
    assert (endpoint.host, endpoint.port, endpoint.server_name) == ("10.1.2.3", 6443, "kubernetes")
    assert endpoint.ca_pem == ca_bundle(ca_pem())
    assert not endpoint.insecure
    assert endpoint.proxy is not None
    assert (endpoint.proxy.host, endpoint.proxy.port) == ("proxy", 3128)
    assert endpoint.proxy.authorization == "Basic " + base64.b64encode(b"me:p@ss").decode()
    credential = await credential_of(sighting)
    assert credential.token == "t0ken"
    assert credential.client_certificate is not None
    assert credential.expires_at is not None
    assert credential.expires_at > NOW


async def test_files_are_relative_to_the_kubeconfig(path: Path) -> None:
    chain, key = client_pair()
    for name, text in {"ca.crt": ca_pem(), "me.crt": chain, "me.key": key, "token": "from-file\n"}.items():
        (path.parent / name).write_text(text)
    user = {"tokenFile": "token", "token": "older", "client-certificate": "me.crt", "client-key": "me.key"}
    text = kubeconfig(
        entry("a", user, certificate_authority="ca.crt", certificate_authority_data=None),
    )
    sighting = only(await read(path, text))
    assert sighting.endpoint.ca_pem == ca_bundle(ca_pem())
    credential = await credential_of(sighting)
    assert credential.token == "from-file"
    assert credential.client_certificate is not None


async def test_insecure_is_kept_and_no_ca_means_the_systems(path: Path) -> None:
    insecure = {"insecure_skip_tls_verify": True, "certificate_authority_data": None}
    text = kubeconfig(entry("a", **insecure), entry("b", certificate_authority_data=None))
    a, b = (await read(path, text)).sightings
    assert a.endpoint.insecure
    assert b.endpoint.ca_pem is None
    assert not b.endpoint.insecure


async def test_an_exec_plugin_of_the_operators_own_file_runs(path: Path) -> None:
    status = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "fresh"}}
    plugin(path.parent / "get-token", f"print({json.dumps(json.dumps(status))})")
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./get-token", "args": None}}
    sighting = only(await read(path, kubeconfig(entry("a", user))))
    assert (await credential_of(sighting)).token == "fresh"


# -- several files, chosen contexts


async def test_the_first_file_that_sets_a_name_wins_and_the_other_is_warned_of(tmp_path: Path) -> None:
    admin: dict[str, object] = {"name": "kubernetes-admin"}
    one = write(tmp_path / "one", kubeconfig(entry("a"), {"users": [{**admin, "user": {"token": "first"}}]}))
    context: dict[str, object] = {"name": "b", "context": {"cluster": "b", "user": "kubernetes-admin"}}
    two = write(
        tmp_path / "two",
        kubeconfig(
            {
                "contexts": [context],
                "clusters": [{"name": "b", "cluster": cluster()}],
                "users": [{**admin, "user": {"token": "second"}}],
            }
        ),
    )
    environ = {"KUBECONFIG": f"{one}{os.pathsep}{os.pathsep}{two}"}
    reading = await first(KubeconfigSource(environ=environ))
    assert [sighting.name for sighting in reading.sightings] == ["a", "b"]
    assert (await credential_of(reading.sightings[1])).token == "first"
    problem = the_problem(reading)
    assert str(two) in problem.where
    assert "kubernetes-admin" in problem.where
    assert str(one) in problem.message
    assert problem.entry is None
    assert reading.complete


async def test_the_same_content_twice_is_no_warning(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, kubeconfig(entry("a"))) for name in ("one", "two")]
    only(await first(KubeconfigSource(paths=paths)))


def test_where_kubectl_looks() -> None:
    assert kubeconfig_paths({"HOME": "/home/me"}) == [Path("/home/me/.kube/config")]
    assert kubeconfig_paths({"HOME": "/home/me", "KUBECONFIG": "/a:b"}) == [Path("/a"), Path("b")]


async def test_chosen_contexts_only(path: Path) -> None:
    reading = await read(path, kubeconfig(entry("a"), entry("b")), contexts=["b", "typo"])
    assert [sighting.name for sighting in reading.sightings] == ["b"]
    assert '"typo"' in the_problem(reading).message


async def test_an_unreadable_file_costs_no_other_one(tmp_path: Path) -> None:
    good = write(tmp_path / "good", kubeconfig(entry("a")))
    reading = await first(KubeconfigSource(paths=[tmp_path / "gone", good]))
    assert [sighting.name for sighting in reading.sightings] == ["a"]
    assert not reading.complete
    assert "does not exist" in the_problem(reading).message


# -- credentials that can't be used: the cluster is seen all the same


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"auth-provider": {"name": "gcp"}}, "removed from Kubernetes 1.26"),
        ({"username": "admin", "password": "s3cret"}, "removed from Kubernetes 1.19"),
        ({"token": "x", "as": "root"}, "impersonation"),
        ({"token": "two\nlines"}, "HTTP header"),
        ({"token": "s3cret" * 10_000}, "token is longer"),
        ({"token": {"s3cret": "x"}}, "token is no text"),
        ({"client-certificate-data": "%s3cret%", "client-key-data": "eA=="}, "client-certificate-data is no base64"),
        ({"client-certificate-data": b64("x"), "client-key-data": b64("y")}, "client certificate holds no PEM"),
        ({"client-certificate-data": b64(client_pair()[0])}, "no client key"),
        ({"client-key-data": b64(client_pair()[1])}, "no client certificate"),
        ({"client-certificate-data": b64(client_pair()[0]), "client-key-data": b64("s3cret")}, "no PEM private key"),
        (
            {"client-certificate-data": b64(client_pair()[0]), "client-key-data": b64(client_pair(1)[1])},
            "does not belong",
        ),
        ({"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}}, "exec.apiVersion"),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}, "exec.command is missing"),
        (
            {
                "exec": {
                    "command": "x",
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "interactiveMode": "Always",
                }
            },
            "interactiveMode",
        ),
        ({"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1", "args": [["y"]]}}, "exec.args"),
        ({"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1", "env": [{}]}}, "exec.env[0]"),
        ({"exec": "s3cret"}, "exec is no mapping"),
    ],
)
async def test_a_broken_credential_keeps_its_cluster(path: Path, user: dict[str, object], says: str) -> None:
    error = await refusal(only(await read(path, kubeconfig(entry("a", user)))).credential)
    assert error.reason is Reason.CREDENTIAL_INVALID
    assert says in error.message
    assert f'user "a" in {path}' in error.message
    assert "s3cret" not in error.message


@pytest.mark.parametrize("user", [None, {}, {"extensions": []}])
async def test_a_context_without_a_user_is_asked_anonymously(path: Path, user: dict[str, object] | None) -> None:
    config = entry("a", user or {})
    if user is None:
        config["contexts"] = [{"name": "a", "context": {"cluster": "a"}}]
    reading = await read(path, kubeconfig(config))
    assert [sighting.credential for sighting in reading.sightings] == [None]
    assert "anonymously" in the_problem(reading).remedy
    assert reading.complete


async def test_a_proxy_s_path_is_part_of_where_a_cluster_answers(path: Path) -> None:
    text = kubeconfig(entry("a", {"token": "t0ken"}, server="https://rancher.example/k8s/clusters/c-1/"))
    endpoint = only(await read(path, text)).endpoint
    assert (endpoint.authority, endpoint.path) == ("rancher.example:443", "/k8s/clusters/c-1")
    assert endpoint.url == "https://rancher.example:443/k8s/clusters/c-1"


# -- clusters that can't be used: a problem of that entry


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"server": None}, "server is missing"),
        ({"server": "http://10.0.0.1"}, "but http://: the credential would travel in clear text"),
        ({"server": "10.0.0.1:6443"}, "no"),
        ({"server": "https://me:s3cret@10.0.0.1"}, "user name or password"),
        ({"server": "https://10.0.0.1/a/../b"}, "path that no API server"),
        ({"server": "https://10.0.0.1/a//b"}, "path that no API server"),
        ({"server": "https://10.0.0.1/a%2fb"}, "path that no API server"),
        ({"server": "https://10.0.0.1/a b"}, "path that no API server"),
        ({"server": "https://10.0.0.1/" + "a" * 501}, "path that no API server"),
        ({"server": "https://10.0.0.1/?s3cret"}, "? or # part"),
        ({"server": "https://10.0.0.1:99999"}, "bad port"),
        ({"server": "https://10.0.0.1:0"}, "port 0"),
        ({"server": "https://10.0.0.1:s3cret"}, "bad port"),
        ({"server": "https://10.0.0.256"}, "bad IPv4"),
        ({"server": "https://[::1"}, "no URL"),
        ({"server": "https://fe80::1:6443"}, ""),
        ({"server": "https://[fe80::1%eth0]:6443"}, ""),
        ({"server": "https://:6443"}, "names no host"),
        ({"server": "https://a..b"}, "no valid host name"),
        ({"server": "https://bücher.example"}, "no valid host name"),
        ({"server": "https://" + "a." * 200 + "b"}, "no valid host name"),
        ({"server": "https://a" + "x" * 5000}, "longer than"),
        ({"server": "https://a\nb"}, "control characters"),
        ({"server": ["https://a"]}, "server is no text"),
        ({"certificate-authority-data": "%%%"}, "certificate-authority-data is no base64"),
        ({"certificate-authority-data": b64("hello")}, "holds no PEM certificate"),
        ({"certificate-authority-data": b64(client_pair()[1])}, "holds no PEM certificate"),
        (
            {"certificate-authority-data": b64("-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n")},
            "no X.509 certificate",
        ),
        ({"certificate-authority-data": b64("x" * 600_000)}, "longer than"),
        ({"certificate-authority-data": None, "certificate-authority": "gone.crt"}, "gone.crt does not exist"),
        ({"insecure-skip-tls-verify": True}, "beside a certificate-authority"),
        ({"insecure-skip-tls-verify": "yes"}, "neither true nor false"),
        ({"tls-server-name": "a b"}, "tls-server-name"),
        ({"proxy-url": "https://proxy:3128"}, "but https://"),
        ({"proxy-url": "socks5://proxy:1080"}, "but socks5://"),
        ({"proxy-url": "http://proxy:3128/path"}, "proxy-url has a path"),
        ({"proxy-url": "s3cret"}, "proxy-url is not an http:// URL"),
    ],
)
async def test_a_broken_cluster_is_a_problem_of_its_entry(path: Path, fields: dict[str, object], says: str) -> None:
    reading = await read(path, kubeconfig(entry("good"), entry("bad", **fields)))
    assert [sighting.name for sighting in reading.sightings] == ["good"]
    problem = the_problem(reading)
    assert problem.entry == "bad"
    assert problem.where == f'{path}: context "bad"'
    assert says in problem.message
    assert "s3cret" not in f"{problem}"
    assert reading.complete


@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        ("https://API.Example.COM", "api.example.com", 443),
        ("https://api.example.com./", "api.example.com", 443),
        ("HTTPS://10.0.0.1:6443/", "10.0.0.1", 6443),
        ("https://[2001:DB8::0:1]:6443", "2001:db8::1", 6443),
    ],
)
async def test_one_address_has_one_spelling(path: Path, server: str, host: str, port: int) -> None:
    endpoint = only(await read(path, kubeconfig(entry("a", server=server)))).endpoint
    assert (endpoint.host, endpoint.port) == (host, port)


async def test_a_ca_bundle_with_comments_has_one_identity(path: Path) -> None:
    commented = f"# Főtanúsítvány\n{ca_pem()}\nagain\n{ca_pem()}"
    endpoint = only(await read(path, kubeconfig(entry("a", certificate_authority_data=b64(commented))))).endpoint
    assert endpoint.ca_pem == ca_bundle(ca_pem())


@pytest.mark.parametrize("kind", ["cluster", "user"])
async def test_an_absent_cluster_or_user_is_named_with_its_context(path: Path, kind: str) -> None:
    config = entry("a")
    config[f"{kind}s"] = []
    reading = await read(path, kubeconfig(entry("good"), config))
    problem = the_problem(reading)
    assert problem.entry == "a"
    assert 'context "a"' in problem.where
    assert f'names the {kind} "a"' in problem.message
    assert [sighting.name for sighting in reading.sightings] == ["good"]


@pytest.mark.parametrize("kind", ["context", "cluster", "user"])
async def test_two_of_one_name_in_a_file_are_ambiguous(path: Path, kind: str) -> None:
    config = entry("a")
    config[f"{kind}s"] *= 2
    reading = await read(path, kubeconfig(entry("good"), config))
    problem = the_problem(reading)
    assert problem.entry == "a"
    assert f'{kind} "a" is there twice' in problem.message
    assert [sighting.name for sighting in reading.sightings] == ["good"]


# -- files that are no kubeconfig


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("[]", "no kubeconfig"),
        ("hello", "no kubeconfig"),
        ("apiVersion: v1\nkind: Secret\ndata: {}\n", "no kubeconfig"),
        ("kind: Secret\nusers: []\n", "of the kind Secret"),
        ("contexts: {}\n", "contexts is no list"),
        ("contexts: [x]\n", "is no mapping"),
        ("contexts: [{name: a, context: x}]\n", "context is no mapping"),
        ("contexts: [{context: {}}]\n", "has no name"),
        ('contexts: [{name: "a\\u001b[31m", context: {}}]\n', "control characters"),
        ("contexts:\n- &a {name: a}\n", "anchors"),
        ("contexts: []\ncontexts: []\n", "twice"),
        ("apiVersion: v1\nclusters: []\n", "has no contexts"),
        ("contexts:\n- context:\n    clus", "clus"),
    ],
)
async def test_a_bad_file_is_one_problem_and_an_incomplete_reading(path: Path, text: str, says: str) -> None:
    reading = await read(path, text)
    assert reading.sightings == ()
    assert not reading.complete
    assert str(path) in reading.problems[0].where
    if says != "clus":
        assert says in reading.problems[0].message
    assert reading.problems[0].remedy


async def test_an_explicitly_empty_fleet_is_complete(path: Path) -> None:
    reading = await read(path, "contexts: []\n")
    assert reading == Reading(())


async def test_too_many_contexts_are_refused(path: Path) -> None:
    reading = await read(path, "contexts:\n" + "".join(f"- {{name: c{n}}}\n" for n in range(MAX_ENTRIES + 1)))
    assert f"more than {MAX_ENTRIES}" in the_problem(reading).message
    assert not reading.complete


async def test_nothing_secret_is_shown(path: Path) -> None:
    secret = "canary-7f3a"
    users: list[dict[str, object]] = [
        {"token": secret},
        {"tokenFile": "missing", "token": secret},
        {"username": secret, "password": secret},
        {"exec": {"command": "x", "apiVersion": secret[:5], "env": [{"name": "A", "value": secret}]}},
    ]
    entries = [entry(f"c{n}", user, proxy_url=f"http://u:{secret}@p") for n, user in enumerate(users)]
    reading = await read(path, kubeconfig(*entries))
    assert secret not in repr(reading)
    for sighting in reading.sightings:
        assert sighting.credential is not None
        assert secret not in await said(sighting.credential)


async def said(source: CredentialSource) -> str:
    try:
        return repr(await source.fetch(NOW))
    except CredentialError as error:
        return error.message


# -- unchanged entries stay the same objects


async def test_an_unchanged_entry_gives_an_equal_sighting_and_the_same_credential(path: Path) -> None:
    source = KubeconfigSource(paths=[path], poll_s=0.02)
    write(path, kubeconfig(entry("a"), entry("b"), entry("c")))
    before = await first(source)
    write(
        path, kubeconfig(entry("new"), entry("c", server="https://moved:1"), entry("b", {"token": "new"}), entry("a"))
    )
    after = {sighting.name: sighting for sighting in (await first(source)).sightings}
    a, b, c = before.sightings
    assert after["a"] == a
    assert after["a"].credential is a.credential
    assert after["b"] != b
    assert after["c"].credential is c.credential
    assert after["c"].endpoint.host == "moved"


async def test_contexts_of_one_user_share_its_credential(path: Path) -> None:
    config = entry("a")
    config["contexts"].append({"name": "a2", "context": {"cluster": "a", "user": "a"}})
    one, two = (await read(path, kubeconfig(config))).sightings
    assert one.credential is two.credential


@pytest.mark.parametrize("provide", [False, True])
async def test_a_plugin_that_is_told_of_the_cluster_is_run_for_each(path: Path, *, provide: bool) -> None:
    called = {
        "exec": {
            "command": PYTHON,
            "apiVersion": "client.authentication.k8s.io/v1",
            "provideClusterInfo": provide,
        }
    }
    config = entry("a", called)
    config["clusters"].append({"name": "other", "cluster": cluster(server="https://other")})
    config["contexts"].append({"name": "other", "context": {"cluster": "other", "user": "a"}})
    one, two = (await read(path, kubeconfig(config))).sightings
    assert (one.credential is two.credential) is not provide


async def test_ten_thousand_contexts_take_seconds(path: Path) -> None:
    chain, key = (b64(part) for part in client_pair())
    user = {"client-certificate-data": chain, "client-key-data": key, "token": "t" * 900}
    text = kubeconfig(*[entry(f"cluster-{n}", user, server=f"https://c{n}.example:6443") for n in range(10_000)])
    started = time.monotonic()
    reading = await read(path, text)
    assert len(reading.sightings) == 10_000
    assert reading.problems == ()
    assert time.monotonic() - started < 20  # 4 s on the machine that this was written on
