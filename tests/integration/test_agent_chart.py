"""The agent's Helm chart, rendered by helm itself: what runs where the customer installs it, and what it may do."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from typer.main import get_command

from collector.agent import Agent
from muster.api.agents import helm_command
from muster.cli.app import app
from tests.support.need import need

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/muster-agent"
HUB, CLUSTER = "0195b6c0-7000-7000-8000-000000000001", "0195b6c0-7000-7000-8000-000000000002"
USUAL = {"hub.url": "https://hub.example:8647", "hub.id": HUB, "cluster.id": CLUSTER}
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"

Json = dict[str, Any]


@pytest.fixture(scope="session")
def helm() -> str:
    """Put into the user's cache where it is not there yet."""
    found = subprocess.run([ROOT / "scripts/helm"], capture_output=True, text=True, timeout=120, check=False)
    need(found.returncode == 0, f"helm: {found.stderr[-500:]}")
    return found.stdout.strip()


class Helm:
    def __init__(self, path: str, home: Path) -> None:
        self._path = path
        self._environ = {f"HELM_{each}_HOME": str(home) for each in ("CACHE", "CONFIG", "DATA")} | {"HOME": str(home)}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._path, *words], capture_output=True, text=True, timeout=30, check=False, env=self._environ
        )

    def render(self, **values: str) -> list[Json]:
        """All objects, with the usual values and these (dots as double underscores)."""
        wanted = USUAL | {key.replace("__", "."): value for key, value in values.items()}
        sets = [word for key, value in wanted.items() for word in ("--set", f"{key}={value}")]
        done = self.run("template", "muster-agent", str(CHART), "--namespace", "backup", *sets)
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    def refusal(self, **values: str) -> str:
        """What helm says to values that make no sense."""
        wanted = USUAL | {key.replace("__", "."): value for key, value in values.items()}
        sets = [word for key, value in wanted.items() for word in ("--set", f"{key}={value}")]
        done = self.run("template", "muster-agent", str(CHART), *sets)
        assert done.returncode != 0, done.stdout
        return done.stderr


@pytest.fixture
def chart(helm: str, tmp_path: Path) -> Helm:
    return Helm(helm, tmp_path)


def the(kind: str, objects: list[Json]) -> Json:
    (found,) = [each for each in objects if each["kind"] == kind]
    return found


def pod(objects: list[Json]) -> Json:
    template: Json = the("Deployment", objects)["spec"]["template"]
    return template


def environment(objects: list[Json]) -> dict[str, str]:
    (container,) = pod(objects)["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def test_helm_has_nothing_to_say_against_it(chart: Helm) -> None:
    sets = [word for key, value in USUAL.items() for word in ("--set", f"{key}={value}")]
    linted = chart.run("lint", "--strict", str(CHART), *sets)
    assert linted.returncode == 0, linted.stdout


def test_it_may_do_nothing_in_kubernetes(chart: Helm) -> None:
    objects = chart.render()
    assert sorted(each["kind"] for each in objects) == ["Deployment", "ServiceAccount"]
    assert the("ServiceAccount", objects)["automountServiceAccountToken"] is False
    assert pod(objects)["spec"]["automountServiceAccountToken"] is False
    assert {each["metadata"]["namespace"] for each in objects} == {"backup"}


def test_it_runs_as_nobody_on_a_file_system_that_it_can_not_write(chart: Helm) -> None:
    spec = pod(chart.render())["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(mount["readOnly"] for mount in container["volumeMounts"])
    assert container["resources"]["limits"] == {"memory": "192Mi"}
    assert "USER 10001:10001" in (ROOT / "deploy/docker/Dockerfile").read_text()


def test_there_is_one_and_it_shows_a_token_for_this_hub_only(chart: Helm) -> None:
    objects = chart.render()
    deployment = the("Deployment", objects)["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    (volume,) = pod(objects)["spec"]["volumes"]
    assert volume["projected"]["sources"] == [
        {"serviceAccountToken": {"audience": f"muster:{HUB}", "expirationSeconds": 3600, "path": "token"}}
    ]
    (container,) = pod(objects)["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    assert environment(objects)["MUSTER_AGENT_TOKEN_FILE"] == f"{mount['mountPath']}/token"


def test_what_it_sets_are_options_of_the_agent(chart: Helm) -> None:
    objects = chart.render(
        hub__caBundle=PEM,
        storage__caBundle=PEM,
        storage__allowedEndpoints="{https://a.example:9000,https://b.example}",
        azure__environments="{AzureChinaCloud}",
    )
    command: Any = get_command(app)
    options = {option.envvar for option in command.commands["agent"].params if option.envvar}
    told = environment(objects)
    assert told.keys() == options
    assert told["MUSTER_AGENT_ALLOW_ENDPOINT"] == "https://a.example:9000 https://b.example"
    files = the("ConfigMap", objects)["data"]
    assert files == {"hub-ca.pem": PEM + "\n", "storage-ca.pem": PEM + "\n"}
    assert {f"/etc/muster/{name}" for name in files} == {
        told["MUSTER_AGENT_CA_FILE"],
        told["MUSTER_AGENT_STORAGE_CA_FILE"],
    }
    (container,) = pod(objects)["spec"]["containers"]
    assert container["args"] == ["agent"]


@pytest.mark.parametrize(
    ("values", "annotation"),
    [
        ({"azure__clientId": CLUSTER}, {"azure.workload.identity/client-id": CLUSTER}),
        (
            {"aws__roleArn": "arn:aws:iam::123456789012:role/backup"},
            {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/backup"},
        ),
        (
            {"gcp__serviceAccount": "backup@acme.iam.gserviceaccount.com"},
            {"iam.gke.io/gcp-service-account": "backup@acme.iam.gserviceaccount.com"},
        ),
    ],
)
def test_one_value_makes_a_cloud_identity(chart: Helm, values: dict[str, str], annotation: dict[str, str]) -> None:
    objects, before = chart.render(**values), chart.render()
    assert the("ServiceAccount", objects)["metadata"]["annotations"] == annotation
    labels = pod(objects)["metadata"]["labels"]
    assert labels.get("azure.workload.identity/use") == ("true" if "azure__clientId" in values else None)
    checksums = [pod(each)["metadata"]["annotations"]["checksum/identity"] for each in (objects, before)]
    assert checksums[0] != checksums[1], "another identity needs another pod"


def test_the_kubelet_asks_where_the_agent_listens(chart: Helm) -> None:
    objects = chart.render()
    (container,) = pod(objects)["spec"]["containers"]
    (port,) = container["ports"]
    assert environment(objects)["MUSTER_AGENT_HEALTH_LISTEN"] == f":{port['containerPort']}"
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "health"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "health"}
    silent = chart.render(health__port="0")
    (container,) = pod(silent)["spec"]["containers"]
    assert not {"ports", "livenessProbe", "readinessProbe"} & container.keys()
    assert "MUSTER_AGENT_HEALTH_LISTEN" not in environment(silent)


def test_the_network_policy_lets_nobody_in_and_out_only_what_is_needed(chart: Helm) -> None:
    spec = the(
        "NetworkPolicy",
        chart.render(networkPolicy__enabled="true", storage__allowedEndpoints="{https://minio.example:9000}"),
    )["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"}
    assert "ingress" not in spec
    dns, web, *node = spec["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert [port["port"] for port in web["ports"]] == [443, 8647, 9000]
    addresses = {block["ipBlock"]["cidr"] for rule in node for block in rule["to"]}
    assert addresses == {"169.254.170.23/32", "169.254.169.254/32", "169.254.169.252/32"}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"hub__url": "http://hub.example"}, "/hub/url"),
        ({"hub__url": "https://me:secret@hub.example"}, "/hub/url"),
        ({"hub__id": "hub"}, "/hub/id"),
        ({"cluster__id": ""}, "/cluster/id"),
        ({"hub__caBundle": "-----BEGIN PRIVATE KEY-----"}, "/hub/caBundle"),
        ({"azure__clientId": "me"}, "/azure/clientId"),
        ({"aws__roleArn": "backup"}, "/aws/roleArn"),
        ({"gcp__serviceAccount": "me@example.com"}, "/gcp/serviceAccount"),
        ({"storage__allowedEndpoints": "{http://minio}"}, "/storage/allowedEndpoints/0"),
        ({"hub__token": "x"}, "additional properties 'token' not allowed"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(chart: Helm, values: dict[str, str], names: str) -> None:
    assert names in chart.refusal(**values)


def test_the_command_that_the_hub_prints_is_one_that_this_chart_takes(helm: str, chart: Helm) -> None:
    agent = Agent(UUID(CLUSTER), None, "backup", "prober", None, None, 0.0, "ann")
    words = shlex.split(helm_command(agent, UUID(HUB), "https://hub.example:8647"))
    assert words[:3] == ["helm", "install", "muster-agent"]
    assert ROOT / words[3] == CHART
    done = chart.run("template", "muster-agent", str(CHART), *[w for w in words[4:] if w != "--create-namespace"])
    assert done.returncode == 0, done.stderr
    objects = [each for each in yaml.safe_load_all(done.stdout) if each]
    assert pod(objects)["spec"]["serviceAccountName"] == "prober"
    assert environment(objects)["MUSTER_AGENT_CLUSTER"] == CLUSTER


def test_the_guide_names_every_option(chart: Helm) -> None:
    guide = (ROOT / "docs/agent.md").read_text()
    command: Any = get_command(app)
    for option in command.commands["agent"].params:
        if option.envvar:
            assert re.search(rf"`{option.opts[0]}`[^\n]*`{option.envvar}`", guide), option.opts
