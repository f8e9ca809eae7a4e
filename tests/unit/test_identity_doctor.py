"""The workload identity doctor's decisions: from facts to findings and to commands that fit this cluster."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest

from tests.support.identity import (
    AFTER,
    AGENT_ENV,
    AWS_ENV,
    AZURE_ENV,
    AZURE_FILE,
    AZURE_ISSUER,
    BEFORE,
    CLIENT,
    EKS_ISSUER,
    GKE_ISSUER,
    GOOGLE,
    OTHER,
    ROLE,
    SET,
    TENANT,
    USE,
    account,
    agent_pod,
    azure_pod,
    case,
    irsa_pod,
    node,
    pod,
    token_volume,
    webhook,
)
from tests.support.transcripts import read_transcript
from validator.doctor import parse
from validator.doctor.case import Case
from validator.doctor.cluster import diagnose
from validator.doctor.fact import fact_of
from validator.doctor.facts import Cloud, Unread
from validator.doctor.step import Diagnosis, Step
from validator.model import Check, Outcome
from validator.reasons import Reason, Stage

AZURE = {"azure.workload.identity/client-id": CLIENT}
IRSA = {"eks.amazonaws.com/role-arn": ROLE}
GSA = {"iam.gke.io/gcp-service-account": GOOGLE}
AZURE_HOOK = [webhook()]
EKS_HOOK = [webhook("iam-for-pods.amazonaws.com")]
GKE_NODE = node(
    {"cloud.google.com/gke-nodepool": "pool-1", "iam.gke.io/gke-metadata-server-enabled": "true"},
    "gce://acme-prod/europe-west1-b/gke-1",
)
BARE_NODE = node({"cloud.google.com/gke-nodepool": "pool-1"}, "gce://acme-prod/europe-west1-b/gke-1")
INTERNAL = "https://kubernetes.default.svc.cluster.local"


def reasons(of: Case, cloud: Cloud | None = None) -> list[str]:
    return [step.reason.value for step in diagnose(of, cloud).findings if step.reason]


def step(diagnosis: Diagnosis, name: str) -> Step:
    return next(each for each in diagnosis.steps if each.name == name)


def words(diagnosis: Diagnosis) -> str:
    return "\n".join(line for each in diagnosis.steps for line in (each.seen, *each.fix))


AZURE_TABLE: list[tuple[str, Case, list[str]]] = [
    ("all is well", case(account(AZURE), [azure_pod()], webhooks=AZURE_HOOK), []),
    ("no annotation", case(account(), [pod(labels=USE)], webhooks=AZURE_HOOK),
     ["ServiceAccountNotAnnotated", "RestartNeeded"]),
    ("the client id is none", case(account({"azure.workload.identity/client-id": f"{CLIENT} "}), [],
     webhooks=AZURE_HOOK), ["IdentityNotFound"]),
    ("the tenant is none", case(account({**AZURE, "azure.workload.identity/tenant-id": "acme"}), [],
     webhooks=AZURE_HOOK), ["TenantNotFound"]),
    ("the pod sets it all itself", case(account(), [azure_pod(labels={})]), []),
    ("no pod label", case(account(AZURE), [pod()], webhooks=AZURE_HOOK), ["PodLabelMissing"]),
    ("the label is no text of true", case(account(AZURE), [pod(labels={"azure.workload.identity/use": "True"})],
     webhooks=AZURE_HOOK), ["PodLabelMissing"]),
    ("no webhook", case(account(AZURE), [pod(labels=USE)]), ["WebhookMissing", "RestartNeeded"]),
    ("no webhook, no pod", case(account(AZURE), []), ["WebhookMissing"]),
    ("pods are older", case(account(AZURE), [pod(labels=USE, created=BEFORE)], webhooks=AZURE_HOOK), ["RestartNeeded"]),
    ("nobody knows which is older", case(account(AZURE, managed=False), [pod(labels=USE)], webhooks=AZURE_HOOK),
     ["RestartNeeded"]),
    ("the webhook failed", case(account(AZURE), [pod(labels=USE, created=AFTER)], webhooks=AZURE_HOOK),
     ["WebhookMissing"]),
    ("one of two is older", case(account(AZURE), [azure_pod(), pod("velero-old", labels=USE, created=BEFORE)],
     webhooks=AZURE_HOOK), ["RestartNeeded"]),
    ("another identity before", case(account(AZURE), [azure_pod(env={**AZURE_ENV, "AZURE_CLIENT_ID": OTHER},
     created=BEFORE)], webhooks=AZURE_HOOK), ["RestartNeeded"]),
    ("another identity in the template", case(account(AZURE), [azure_pod(env={**AZURE_ENV, "AZURE_CLIENT_ID": OTHER})],
     webhooks=AZURE_HOOK), ["WrongIdentity"]),
    ("another tenant before", case(account({**AZURE, "azure.workload.identity/tenant-id": OTHER}),
     [azure_pod(created=BEFORE)], webhooks=AZURE_HOOK), ["RestartNeeded"]),
    ("the audience is another", case(account(AZURE), [azure_pod(token=token_volume(AZURE_FILE, "api://other"))],
     webhooks=AZURE_HOOK), ["TokenAudienceWrong"]),
    ("the token is the API server's", case(account(AZURE), [azure_pod(token=token_volume(AZURE_FILE, None))],
     webhooks=AZURE_HOOK), ["TokenAudienceWrong"]),
    ("the variable points elsewhere", case(account(AZURE), [azure_pod(token=token_volume("/var/run/old/token",
     "api://AzureADTokenExchange"))], webhooks=AZURE_HOOK), ["IdentityUnavailable"]),
    ("the mount of 1.5", case(account(AZURE), [azure_pod(
        env={**AZURE_ENV, "AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/tokens/azure-identity-token"},
        token=token_volume("/var/run/secrets/azure/tokens/azure-identity-token", "api://AzureADTokenExchange"))],
     webhooks=AZURE_HOOK), []),
    ("China has an audience of its own", case(account(AZURE), [azure_pod(
        env={**AZURE_ENV, "AZURE_AUTHORITY_HOST": "https://login.chinacloudapi.cn/"},
        token=token_volume(AZURE_FILE, "api://AzureADTokenExchangeChina"))], webhooks=AZURE_HOOK), []),
    ("a secret comes before", case(account(AZURE), [azure_pod(env={**AZURE_ENV, "AZURE_CLIENT_SECRET": "x"})],
     webhooks=AZURE_HOOK), ["WrongIdentity"]),
    ("the issuer is internal", case(account(AZURE), [azure_pod()], webhooks=AZURE_HOOK, issuer=INTERNAL),
     ["IssuerUnreachable"]),
    ("the issuer is a private address", case(account(AZURE), [azure_pod()], webhooks=AZURE_HOOK,
     issuer="https://10.0.0.1:6443"), ["IssuerUnreachable"]),
    ("the namespace is left out", case(account(AZURE), [pod(labels=USE)], webhooks=[webhook(namespaceSelector={
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["velero"]}]})]),
     ["WebhookMissing", "RestartNeeded"]),
    ("the namespace is chosen", case(account(AZURE), [azure_pod()], webhooks=[webhook(namespaceSelector={
        "matchLabels": {"kubernetes.io/metadata.name": "velero"}})]), []),
    ("webhooks are forbidden and pods injected", case(account(AZURE), [azure_pod()],
     webhooks=Unread("GET /x", 403, "no", "jane")), []),
    ("webhooks are forbidden and pods bare", case(account(AZURE), [pod(labels=USE, created=BEFORE)],
     webhooks=Unread("GET /x", 403, "no", "jane")), ["RestartNeeded", "ResourceForbidden"]),
    ("pods are forbidden", case(account(AZURE), Unread("GET /pods", 403, "no"), webhooks=AZURE_HOOK),
     ["ResourceForbidden"]),
    ("no service account", case(Unread("GET /sa", 404, "not found")), ["ResourceAbsent"]),
    ("service account forbidden", case(Unread("GET /sa", 403, "no", "jane")), ["ResourceForbidden"]),
]  # fmt: skip


@pytest.mark.parametrize(("of", "expected"), [row[1:] for row in AZURE_TABLE], ids=[row[0] for row in AZURE_TABLE])
def test_azure(of: Case, expected: list[str]) -> None:
    assert reasons(of, Cloud.AZURE) == expected


AWS_TABLE: list[tuple[str, Case, list[str]]] = [
    ("IRSA is well", case(account(IRSA), [irsa_pod()], webhooks=EKS_HOOK, issuer=EKS_ISSUER), []),
    ("no annotation", case(account(), [pod()], webhooks=EKS_HOOK, issuer=EKS_ISSUER), ["ServiceAccountNotAnnotated"]),
    ("misspelt", case(account({"eks.amazon.aws/role-arn": ROLE}), [pod()], webhooks=EKS_HOOK, issuer=EKS_ISSUER),
     ["ServiceAccountNotAnnotated"]),
    ("no ARN", case(account({"eks.amazonaws.com/role-arn": "velero"}), [], webhooks=EKS_HOOK, issuer=EKS_ISSUER),
     ["IdentityNotFound"]),
    ("pods are older", case(account(IRSA), [pod(created=BEFORE)], webhooks=EKS_HOOK, issuer=EKS_ISSUER),
     ["RestartNeeded"]),
    ("no webhook", case(account(IRSA), [pod()], issuer="https://oidc.acme.example"),
     ["WebhookMissing", "RestartNeeded"]),
    ("another role before", case(account(IRSA), [irsa_pod(env={**AWS_ENV, "AWS_ROLE_ARN": f"{ROLE}-2"},
     created=BEFORE)], webhooks=EKS_HOOK, issuer=EKS_ISSUER), ["RestartNeeded"]),
    ("keys come before", case(account(IRSA), [irsa_pod(env={**AWS_ENV, "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"})],
     webhooks=EKS_HOOK, issuer=EKS_ISSUER), ["WrongIdentity"]),
    ("the audience is overridden", case(account({**IRSA, "eks.amazonaws.com/audience": "other"}),
     [irsa_pod(token=token_volume(AWS_ENV["AWS_WEB_IDENTITY_TOKEN_FILE"], "other"))], webhooks=EKS_HOOK,
     issuer=EKS_ISSUER), ["TokenAudienceWrong"]),
    ("the issuer is internal", case(account(IRSA), [irsa_pod()], webhooks=EKS_HOOK, issuer=INTERNAL),
     ["IssuerUnreachable"]),
    ("Pod Identity is well", case(account(), [agent_pod()], issuer=EKS_ISSUER), []),
    ("Pod Identity needs no public issuer", case(account(), [agent_pod()], issuer=INTERNAL), []),
    ("associated later", case(account(), [agent_pod(), pod("velero-old")], issuer=EKS_ISSUER), ["RestartNeeded"]),
    ("both ways", case(account(IRSA), [agent_pod()], issuer=EKS_ISSUER), ["WrongIdentity"]),
    ("another agent", case(account(), [agent_pod(env={**AGENT_ENV,
     "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://10.0.0.9/v1/credentials"})], issuer=EKS_ISSUER), ["WrongIdentity"]),
    ("the agent's token is for STS", case(account(), [agent_pod(token=token_volume(
     AGENT_ENV["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"], "sts.amazonaws.com"))], issuer=EKS_ISSUER),
     ["TokenAudienceWrong"]),
]  # fmt: skip


@pytest.mark.parametrize(("of", "expected"), [row[1:] for row in AWS_TABLE], ids=[row[0] for row in AWS_TABLE])
def test_aws(of: Case, expected: list[str]) -> None:
    assert reasons(of, Cloud.AWS) == expected


POOL_AUDIENCE = "//iam.googleapis.com/projects/12/locations/global/workloadIdentityPools/p/providers/q"
GCP_TABLE: list[tuple[str, Case, list[str]]] = [
    ("all is well", case(account(GSA), [pod()], nodes=[GKE_NODE], issuer=GKE_ISSUER), []),
    ("older pods need no restart", case(account(GSA), [pod(created=BEFORE)], nodes=[GKE_NODE], issuer=GKE_ISSUER), []),
    ("no annotation", case(account(), [pod()], nodes=[GKE_NODE], issuer=GKE_ISSUER), ["ServiceAccountNotAnnotated"]),
    ("no e-mail", case(account({"iam.gke.io/gcp-service-account": "backup"}), [pod()], nodes=[GKE_NODE],
     issuer=GKE_ISSUER), ["IdentityNotFound"]),
    ("no metadata server", case(account(GSA), [pod()], nodes=[BARE_NODE], issuer=GKE_ISSUER), ["WrongIdentity"]),
    ("the host's network", case(account(GSA), [pod(hostNetwork=True)], nodes=[GKE_NODE], issuer=GKE_ISSUER),
     ["WrongIdentity"]),
    ("a key file comes before", case(account(GSA), [pod(env={"GOOGLE_APPLICATION_CREDENTIALS": "/key.json"})],
     nodes=[GKE_NODE], issuer=GKE_ISSUER), ["WrongIdentity"]),
    ("nodes are forbidden", case(account(GSA), [pod()], nodes=Unread("GET /n", 403, "no"), issuer=GKE_ISSUER),
     ["ResourceForbidden"]),
    ("a pool elsewhere", case(account(), [pod(env={"GOOGLE_APPLICATION_CREDENTIALS": "/etc/wif/config.json"},
     token=token_volume("/var/run/token", POOL_AUDIENCE))], issuer="https://oidc.acme.example"), []),
    ("a pool elsewhere, but no token", case(account(), [pod(env={"GOOGLE_APPLICATION_CREDENTIALS": "/key.json"})],
     issuer="https://oidc.acme.example"), ["TokenAudienceWrong"]),
]  # fmt: skip


@pytest.mark.parametrize(("of", "expected"), [row[1:] for row in GCP_TABLE], ids=[row[0] for row in GCP_TABLE])
def test_gcp(of: Case, expected: list[str]) -> None:
    assert reasons(of, Cloud.GCP) == expected


def rows() -> list[Case]:
    return [row[1] for table in (AZURE_TABLE, AWS_TABLE, GCP_TABLE) for row in table]


def test_every_finding_has_a_command_and_every_command_is_one_for_a_shell() -> None:
    for of in rows():
        diagnosis = diagnose(of)
        assert all(found.fix for found in diagnosis.findings), diagnosis
        for line in (line for each in diagnosis.steps for line in each.fix):
            assert line.isprintable()
            first = line if line.startswith("#") else shlex.split(line)[0]
            assert first.startswith("#") or first in {"kubectl", "az", "aws", "gcloud", "helm", "git", "make", "read"}
            assert "kubectl" not in line or line.startswith("#") or " --context prod " in line


@pytest.mark.parametrize(
    ("of", "cloud"),
    [
        (case(account(AZURE), issuer=EKS_ISSUER), Cloud.AZURE),
        (case(account({"eks.amazon.aws/role-arn": ROLE})), Cloud.AWS),
        (case(account(GSA)), Cloud.GCP),
        (case(account(), [agent_pod()]), Cloud.AWS),
        (case(account(), [pod(labels=USE)], issuer=EKS_ISSUER), Cloud.AZURE),
        (case(account(), [pod()], nodes=[node(provider="azure:///subscriptions/x")], issuer=INTERNAL), Cloud.AZURE),
        (case(account(), issuer=EKS_ISSUER), Cloud.AWS),
        (case(account(), issuer=GKE_ISSUER), Cloud.GCP),
        (case(account(), issuer=INTERNAL), None),
    ],
)
def test_the_cloud_is_told_from_what_somebody_has_set_before_what_it_runs_on(of: Case, cloud: Cloud | None) -> None:
    assert diagnose(of).cloud is cloud


def test_without_a_cloud_it_says_how_to_name_one() -> None:
    diagnosis = diagnose(case(account(), issuer=INTERNAL))
    assert [each.reason for each in diagnosis.findings] == [Reason.SERVICE_ACCOUNT_NOT_ANNOTATED]
    assert "--cloud" in words(diagnosis)


def test_the_federated_credential_is_generated_to_the_letter() -> None:
    fix = step(diagnose(case(account(AZURE), [azure_pod()], webhooks=AZURE_HOOK)), "federated credential").fix
    create = next(line for line in fix if line.startswith("az identity federated-credential create"))
    options = shlex.split(create)
    assert options[options.index("--issuer") + 1] == AZURE_ISSUER  # with the slash at its end
    assert options[options.index("--subject") + 1] == "system:serviceaccount:velero:velero"
    assert options[options.index("--audiences") + 1] == "api://AzureADTokenExchange"
    app = shlex.split(fix[-1].partition(": ")[2])
    assert json.loads(app[app.index("--parameters") + 1])["issuer"] == AZURE_ISSUER
    assert app[app.index("--id") + 1] == CLIENT


def test_the_trust_policy_is_generated_to_the_letter() -> None:
    seen = case(account(IRSA), [irsa_pod()], webhooks=EKS_HOOK, issuer=EKS_ISSUER)
    fix = step(diagnose(seen), "trust policy").fix
    options = shlex.split(fix[-1])
    (statement,) = json.loads(options[options.index("--policy-document") + 1])["Statement"]
    provider = EKS_ISSUER.removeprefix("https://")
    assert statement["Principal"]["Federated"] == f"arn:aws:iam::123456789012:oidc-provider/{provider}"
    assert statement["Condition"]["StringEquals"] == {
        f"{provider}:aud": "sts.amazonaws.com",
        f"{provider}:sub": "system:serviceaccount:velero:velero",
    }
    assert options[options.index("--role-name") + 1] == "velero"


def test_a_misspelt_annotation_is_written_right_and_the_policy_knows_its_role() -> None:
    diagnosis = diagnose(case(account({"eks.amazon.aws/role-arn": f"{ROLE} "}), [pod()], issuer=EKS_ISSUER))
    (found,) = diagnosis.findings
    assert f"eks.amazonaws.com/role-arn={ROLE}" in shlex.split(found.fix[0])
    assert "eks.amazon.aws/role-arn-" in found.fix[1]
    assert "--role-name velero" in words(diagnosis)


@pytest.mark.parametrize(
    "cluster", ["arn:aws:eks:eu-west-1:123456789012:cluster/backup-1", "jane@backup-1.eu-west-1.eksctl.io"]
)
def test_the_name_of_an_eks_cluster_is_taken_from_its_context(cluster: str) -> None:
    diagnosis = diagnose(case(account(), [pod()], issuer=EKS_ISSUER, cluster=cluster))
    assert "--cluster-name backup-1 --region eu-west-1" in words(diagnosis)


def test_gke_names_come_from_the_issuer() -> None:
    fix = step(diagnose(case(account(GSA), [pod()], nodes=[BARE_NODE], issuer=GKE_ISSUER)), "nodes").fix
    assert fix[0].startswith("gcloud container clusters update backup-1 --project acme-prod --location europe-west1")
    assert "node-pools update pool-1" in fix[1]
    binding = step(diagnose(case(account(GSA), [pod()], nodes=[GKE_NODE], issuer=GKE_ISSUER)), "binding").fix
    assert "--member=serviceAccount:acme-prod.svc.id.goog[velero/velero]" in shlex.split(binding[0])


def test_aks_is_mended_by_az_and_others_by_helm() -> None:
    labels = {"kubernetes.azure.com/cluster": "MC_backups_prod-1_westeurope"}
    aks = case(account(AZURE), [pod(labels=USE)], nodes=[node(labels)])
    assert step(diagnose(aks), "webhook").fix[0] == (
        "az aks update --name prod-1 --resource-group backups --enable-oidc-issuer --enable-workload-identity"
    )
    tenant = {**AZURE, "azure.workload.identity/tenant-id": TENANT}
    shoot = case(account(tenant), [pod(labels=USE)], issuer="https://shoot.acme.example")
    assert f"azureTenantID={TENANT}" in step(diagnose(shoot), "webhook").fix[1]


def test_the_label_goes_into_the_template_of_whatever_made_the_pod() -> None:
    fix = step(diagnose(case(account(AZURE), [pod()], webhooks=AZURE_HOOK)), "pod label").fix
    patch = next(word for word in shlex.split(fix[0]) if word.startswith("--patch="))
    assert json.loads(patch.removeprefix("--patch="))["spec"]["template"]["metadata"]["labels"] == USE
    assert "deployment/velero" in fix[0]


@pytest.mark.parametrize(
    ("owner", "restart"),
    [
        (("ReplicaSet", "velero-7d4f9c6b5"), "rollout restart deployment/velero --namespace velero"),
        (("DaemonSet", "node-agent"), "rollout restart daemonset/node-agent --namespace velero"),
        (("ReplicaSet", "bare"), "delete pod velero-7d4f9c6b5-x2x4z --namespace velero"),
        (("Job", "backup-1"), "# the next run of Job backup-1 has it"),
        (
            None,
            "get pod velero-7d4f9c6b5-x2x4z --namespace velero -o yaml | kubectl --context prod replace --force -f -",
        ),
    ],
)
def test_a_restart_is_that_of_the_owner(owner: tuple[str, str] | None, restart: str) -> None:
    of = case(account(AZURE), [pod(labels=USE, created=BEFORE, owner=owner)], webhooks=AZURE_HOOK)
    (line,) = step(diagnose(of), "environment").fix
    assert line.removeprefix("kubectl --context prod ") == restart


def test_one_owner_is_restarted_once() -> None:
    old = [pod(f"velero-7d4f9c6b5-{number}", labels=USE, created=BEFORE) for number in range(9)]
    found = step(diagnose(case(account(AZURE), old, webhooks=AZURE_HOOK)), "environment")
    assert len(found.fix) == 1
    assert "and 6 more" in found.seen


@pytest.mark.parametrize(("age_s", "outcome"), [(7200, Outcome.FAIL), (600, Outcome.FINDING)])
def test_a_token_that_is_mounted_by_sub_path_expires(age_s: float, outcome: Outcome) -> None:
    volume, mount = token_volume(AZURE_FILE, "api://AzureADTokenExchange", 3600)
    mount |= {"mountPath": AZURE_FILE, "subPath": "azure-identity-token"}
    of = case(account(AZURE), [azure_pod(token=(volume, mount), created=SET + 3600 - age_s)], webhooks=AZURE_HOOK)
    found = step(diagnose(of), "token")
    assert (found.reason, found.outcome) == (Reason.TOKEN_EXPIRED, outcome)


def test_a_container_that_the_webhook_is_told_to_skip_does_not_count() -> None:
    skipped = pod(labels=USE)
    skipped["metadata"]["annotations"] = {"azure.workload.identity/skip-containers": "velero"}
    found = parse.pod_of(skipped, "velero")
    assert found is not None
    assert found.containers == ()


def test_a_service_account_of_an_operator_says_whose_it_is() -> None:
    owner = {"apiVersion": "core.libopenstorage.org/v1", "kind": "StorageCluster", "name": "px", "controller": True}
    diagnosis = diagnose(case(account(ownerReferences=[owner]), [pod()]), Cloud.AZURE)
    assert step(diagnosis, "owner").fix == ("kubectl --context prod edit storagecluster px --namespace velero",)


def test_the_rights_that_are_missing_are_commands_with_the_user_in_them() -> None:
    of = case(account(AZURE), [pod(labels=USE)], webhooks=Unread("GET /x", 403, "no", "oidc:jane@acme.example"))
    fix = step(diagnose(of), "webhook").fix
    assert "--user=oidc:jane@acme.example" in fix[1]
    assert "mutatingwebhookconfigurations" in fix[0]


def test_the_recorded_issuer_of_a_real_server_is_read_and_found_unreachable() -> None:
    record = read_transcript("kube-apiserver-1.36.http")["OIDC discovery"]
    issuer = parse.issuer_of(json.loads(record.body))
    assert issuer == "https://127.0.0.1:16441"
    assert reasons(case(account(AZURE), [azure_pod()], webhooks=AZURE_HOOK, issuer=issuer)) == ["IssuerUnreachable"]


def test_other_variables_of_a_pod_are_not_kept() -> None:
    secret = azure_pod(env={**AZURE_ENV, "AZURE_CLIENT_SECRET": "canary-of-a-secret"})
    found = parse.pod_of(secret, "velero")
    assert "canary" not in repr(found)
    assert "AZURE_CLIENT_SECRET" in repr(found)


def test_pods_that_are_over_or_of_others_do_not_count() -> None:
    over = pod()
    over["status"]["phase"] = "Succeeded"
    ending = pod()
    ending["metadata"]["deletionTimestamp"] = "2026-11-21T03:11:09Z"
    assert [parse.pod_of(each, "velero") for each in (over, ending, pod(account_name="other"))] == [None] * 3


def test_the_fact_has_the_worst_finding_and_its_commands() -> None:
    of = case(account(AZURE), [pod(labels=USE)], issuer=INTERNAL)
    fact = fact_of(diagnose(of), of)
    assert (fact.check, fact.outcome, fact.reason) == (Check.WORKLOAD_IDENTITY, Outcome.FAIL, Reason.WEBHOOK_MISSING)
    assert fact.stage is Stage.IDENTITY
    assert str(fact.evidence["fix"]).startswith("helm repo add")
    assert fact.evidence["also"] == "RestartNeeded, IssuerUnreachable"
    assert fact.evidence["subject"] == "system:serviceaccount:velero:velero"
    assert fact.evidence["method"] == "resource"


def test_the_fact_passes_where_nothing_is_wrong_and_says_so_of_no_pods() -> None:
    of = case(account(AZURE), [], webhooks=AZURE_HOOK)
    fact = fact_of(diagnose(of), of)
    assert (fact.outcome, fact.reason) == (Outcome.PASS, None)
    assert "none runs" in fact.message
    assert fact.evidence["pods"] == 0


def test_the_fact_is_unknown_where_the_hub_may_not_read() -> None:
    of = case(Unread("GET /sa", 403, "no", "hub"))
    fact = fact_of(diagnose(of), of)
    assert (fact.outcome, fact.reason) == (Outcome.UNKNOWN, Reason.RESOURCE_FORBIDDEN)


def test_the_same_facts_give_the_same_diagnosis() -> None:
    for of in rows():
        assert diagnose(of) == diagnose(replace(of))
