"""`muster doctor CLUSTER` as a process, against a TLS API server that holds service accounts, pods and webhooks."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import TOKEN, ApiServer, api_server, forbidden
from tests.support.identity import AZURE_ISSUER, CLIENT, USE, account, azure_pod, node, pod, webhook

SA = "/api/v1/namespaces/velero/serviceaccounts/velero"
PODS = "/api/v1/namespaces/velero/pods"
HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
ISSUER = "/.well-known/openid-configuration"
ANNOTATED = account({"azure.workload.identity/client-id": CLIENT})


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    """A cluster on which all is well."""
    async with api_server() as double:
        double.put(SA, ANNOTATED)
        double.list("/api/v1/serviceaccounts", "ServiceAccountList", [ANNOTATED])
        double.put("/api/v1/namespaces/velero", {"kind": "Namespace", "metadata": {"name": "velero"}})
        double.list(PODS, "PodList", [azure_pod()])
        double.put("/api/v1/nodes/node-1", node())
        double.list(HOOKS, "MutatingWebhookConfigurationList", [webhook()])
        double.put(ISSUER, {"issuer": AZURE_ISSUER, "jwks_uri": f"{AZURE_ISSUER}openid/v1/jwks"})
        yield double


@pytest.fixture
def kubeconfig(server: ApiServer, tmp_path: Path) -> Path:
    return written(server, tmp_path, TOKEN)


def written(server: ApiServer, directory: Path, token: str) -> Path:
    (directory / "ca.pem").write_text(server.endpoint.ca_pem or "")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "c", "cluster": {"server": server.endpoint.url, "certificate-authority": "ca.pem"}},
            {"name": "gone", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority": "ca.pem"}},
        ],
        "users": [{"name": "me", "user": {"token": token}}],
        "contexts": [
            {"name": "prod", "context": {"cluster": "c", "user": "me"}},
            {"name": "gone", "context": {"cluster": "gone", "user": "me"}},
        ],
    }
    path = directory / "config"
    path.write_text(json.dumps(config))
    path.chmod(0o600)
    return path


async def doctor(kubeconfig: Path, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "muster", "doctor", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONWARNINGS": "error", "KUBECONFIG": str(kubeconfig)},
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


def steps(out: str) -> dict[str, Any]:
    (one,) = json.loads(out)["accounts"]
    return {each["step"]: each for each in one["steps"]}


async def test_a_cluster_on_which_all_is_well_ends_with_0_and_says_what_it_asked(
    server: ApiServer, kubeconfig: Path
) -> None:
    code, out, err = await doctor(kubeconfig, "prod", "--service-account", "velero/velero")
    assert (code, err) == (0, "")
    assert "velero/velero   azure   nothing is wrong" in out
    assert "az identity federated-credential create" in out
    assert out.count("  200  GET /") == len(server.asked) == 6
    assert all(f"GET {asked}" in out for asked in server.asked)
    assert server.connections == 1
    assert TOKEN not in out
    assert "canary" not in out


async def test_a_finding_ends_with_1_and_has_the_command_below_it(server: ApiServer, kubeconfig: Path) -> None:
    server.list(PODS, "PodList", [pod(labels=USE, created=0)])
    code, out, _ = await doctor(kubeconfig, "prod", "--service-account", "velero/velero")
    assert code == 1
    lines = out.splitlines()
    at = next(number for number, line in enumerate(lines) if "RestartNeeded" in line)
    assert lines[at].startswith("✖ environment")
    restart = next(line for line in lines[at:] if "rollout" in line)
    assert restart.strip() == "kubectl --context prod rollout restart deployment/velero --namespace velero"


async def test_without_a_name_it_finds_the_backup_products(server: ApiServer, kubeconfig: Path) -> None:
    code, out, _ = await doctor(kubeconfig, "prod", "-o", "json")
    document = json.loads(out)
    assert code == 0
    assert [one["service_account"] for one in document["accounts"]] == ["velero/velero"]
    assert document["cluster"] == "prod"
    assert len(document["calls"]) == len(server.asked)


async def test_rights_that_are_missing_are_a_finding_and_no_failure(server: ApiServer, kubeconfig: Path) -> None:
    server.put(HOOKS, forbidden("mutatingwebhookconfigurations"))
    server.put("/api/v1/nodes/node-1", forbidden("nodes"))
    server.put(ISSUER, forbidden("openid"))
    code, out, _ = await doctor(kubeconfig, "prod", "--service-account", "velero/velero", "-o", "json")
    assert code == 0
    assert steps(out)["webhook"]["outcome"] == "unknown"
    assert "not readable" in steps(out)["issuer"]["seen"]
    server.list(PODS, "PodList", [pod(labels=USE, created=0)])
    code, out, _ = await doctor(kubeconfig, "prod", "--service-account", "velero/velero", "-o", "json")
    assert code == 1
    assert steps(out)["webhook"]["reason"] == "ResourceForbidden"
    assert "--user=oidc:jane@acme.example" in steps(out)["webhook"]["fix"][1]


async def test_a_service_account_that_is_not_there(server: ApiServer, kubeconfig: Path) -> None:
    code, out, _ = await doctor(kubeconfig, "prod", "--service-account", "velero/typo", "-o", "json")
    assert code == 1
    assert steps(out)["service account"]["reason"] == "ResourceAbsent"


async def test_what_makes_no_sense_ends_with_2(server: ApiServer, kubeconfig: Path) -> None:
    for arguments, says in (
        (["nope"], "nope"),
        (["prod", "--service-account", "velero"], "NAMESPACE/NAME"),
        (["prod", "--service-account", "../../x/y"], "NAMESPACE/NAME"),
        (["prod", "--cloud", "ibm"], "azure"),
        (["prod", "self"], "self"),
    ):
        code, out, err = await doctor(kubeconfig, *arguments)
        assert code == 2, (arguments, out, err)
        assert says in err
    server.list("/api/v1/serviceaccounts", "ServiceAccountList", [])
    code, _, err = await doctor(kubeconfig, "prod")
    assert code == 2
    assert "--service-account NAMESPACE/NAME" in err


async def test_what_does_not_answer_or_refuses_us_ends_with_3(server: ApiServer, tmp_path: Path) -> None:
    wrong = written(server, tmp_path, "some-other-token-0123456789")
    code, out, err = await doctor(wrong, "prod", "--service-account", "velero/velero")
    assert (code, out) == (3, "")
    assert "CredentialRejected" in err
    assert "some-other-token" not in err
    code, _, err = await doctor(wrong, "gone", "--service-account", "velero/velero")
    assert code == 3
    assert "ConnectionRefused" in err
    right = written(server, tmp_path, TOKEN)
    server.put(SA, lambda _: None)
    code, _, err = await doctor(right, "prod", "--service-account", "velero/velero", "--timeout", "0.5")
    assert code == 3
    assert "AnswerTimeout" in err


async def test_a_hostile_server_neither_paints_the_terminal_nor_gets_its_token_told(
    server: ApiServer, kubeconfig: Path
) -> None:
    evil = {"eks.amazonaws.com/role-arn": f"\x1b]0;pwned\x07{TOKEN}"}
    server.put(SA, account(evil))
    body = json.dumps({"kind": "PodList", "metadata": {"continue": "again"}, "items": [azure_pod()]}).encode()
    server.put(PODS, lambda _: (200, body))
    server.put(ISSUER, lambda _: (200, b"[" * 100_000))
    code, out, _ = await doctor(kubeconfig, "prod", "--service-account", "velero/velero")
    assert code == 1
    assert "\x1b" not in out
    assert TOKEN not in out
    assert "do not end" in out


async def test_options_may_come_first_and_self_stays_what_it_is(server: ApiServer, kubeconfig: Path) -> None:
    code, out, _ = await doctor(kubeconfig, "--service-account", "velero/velero", "-o", "json", "prod")
    assert code == 0
    assert steps(out)["annotation"]["outcome"] == "pass"
    code, out, _ = await doctor(kubeconfig, "self", "--help")
    assert code == 0
    assert "own machine" in out
