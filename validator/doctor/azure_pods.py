"""Azure: from the service account's annotation to the token in the pod. Pure.

Sources: azure-workload-identity (`pkg/webhook/consts.go`, "Known issues", "Troubleshooting") and Microsoft's "Workload
identity federation considerations".
"""

from __future__ import annotations

from collections.abc import Iterator

from validator.doctor import azure, pods
from validator.doctor.case import Case
from validator.doctor.facts import Cloud
from validator.doctor.hosts import host_of
from validator.doctor.issuer import issuer_step
from validator.doctor.spelling import misspelt
from validator.doctor.step import Step, bad, good, listed, unseen
from validator.printable import printable
from validator.reasons import Reason

_FILE = "AZURE_FEDERATED_TOKEN_FILE"


def azure_steps(case: Case) -> Iterator[Step]:
    """The checklist, in the order in which a person would mend it."""
    client_id = _client_id(case)
    since = case.seen.annotated_at(azure.CLIENT_ID)
    yield _annotation(case, client_id)
    yield _tenant(case)
    yield pods.pods_step(case)
    if label := _label(case):
        yield label
    yield pods.webhook_step(case, Cloud.AZURE, _FILE, _install(case))
    labelled = [pod for pod in case.pods if pod.labels.get(azure.USE_LABEL) == "true" or pod.has(_FILE)]
    if labelled == list(case.pods) and (injected := pods.injected_step(case, Cloud.AZURE, _FILE, since)):
        yield injected
    if azure.CLIENT_ID in case.seen.annotations and (
        same := pods.match_step(case, "AZURE_CLIENT_ID", client_id or "", since, "identity")
    ):
        yield same
    if token := pods.token_step(case, _FILE, {_audience(case)}):
        yield token
    if static := pods.static_step(case, "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH"):
        yield static
    yield issuer_step(case, azure.aks_commands(*_aks(case)) if _is_aks(case) else ())
    yield _federated(case, client_id)


def _client_id(case: Case) -> str | None:
    """The annotation's, else what the pods set themselves."""
    annotated = case.seen.annotations.get(azure.CLIENT_ID)
    return annotated or next((value for pod in case.pods for value in pod.values("AZURE_CLIENT_ID")), None)


def _annotation(case: Case, client_id: str | None) -> Step:
    annotated = case.seen.annotations.get(azure.CLIENT_ID)
    fix = (azure.list_identities_command(), case.kubectl.annotate(case.name, azure.CLIENT_ID, "CLIENT_ID"))
    if annotated and azure.is_guid(annotated):
        return good("annotation", f"{azure.CLIENT_ID} = {annotated}")
    if annotated:
        seen = f"{azure.CLIENT_ID} is {printable(annotated)!r}, which is no client id (a GUID)"
        return bad("annotation", Reason.IDENTITY_NOT_FOUND, seen, (*fix, *case.restart()))
    if client_id:
        return good("annotation", f"none; the pods set AZURE_CLIENT_ID = {printable(client_id)} themselves")
    if wrong := misspelt(case, azure.CLIENT_ID):
        return wrong
    seen = f"{case.name} has no {azure.CLIENT_ID}"
    return bad("annotation", Reason.SERVICE_ACCOUNT_NOT_ANNOTATED, seen, (*fix, *case.restart()))


def _tenant(case: Case) -> Step:
    annotated = case.seen.annotations.get(azure.TENANT_ID)
    if annotated is None:
        found = [value for pod in case.pods for value in pod.values("AZURE_TENANT_ID")]
        return good("tenant", f"the webhook's own: {listed(map(printable, found)) or 'not seen yet'}")
    since = case.seen.annotated_at(azure.TENANT_ID)
    if azure.is_guid(annotated):
        same = pods.match_step(case, "AZURE_TENANT_ID", annotated, since, "tenant")
        return same or good("tenant", f"{azure.TENANT_ID} = {annotated}")
    show = "az account show --query tenantId --output tsv"
    fix = f"{case.kubectl.run('annotate', 'serviceaccount', case.name.name, '--namespace', case.name.namespace)}"
    fix += f' --overwrite {azure.TENANT_ID}="$({show})"'
    seen = f"{azure.TENANT_ID} is {printable(annotated)!r}, which is no tenant id (a GUID)"
    return bad("tenant", Reason.TENANT_NOT_FOUND, seen, (fix, *case.restart()))


def _label(case: Case) -> Step | None:
    """A pod that carries the token file by itself needs no label."""
    bare = [pod for pod in case.pods if pod.labels.get(azure.USE_LABEL) != "true" and not pod.has(_FILE)]
    if not case.pods:
        return None
    if not bare:
        return good("pod label", f'{azure.USE_LABEL}: "true"')
    fix = case.kubectl.label_template(case.name.namespace, bare, azure.USE_LABEL, "true")
    seen = f'{pods.names(bare)}: no label {azure.USE_LABEL}: "true", so the webhook leaves them alone'
    return bad("pod label", Reason.POD_LABEL_MISSING, seen, fix)


def _audience(case: Case) -> str:
    hosts = [host_of(value) for pod in case.pods for value in pod.values("AZURE_AUTHORITY_HOST")]
    return azure.CHINA_AUDIENCE if any(host.endswith(".chinacloudapi.cn") for host in hosts) else azure.AUDIENCE


def _install(case: Case) -> tuple[str, ...]:
    if _is_aks(case):
        return (*azure.aks_commands(*_aks(case)), *case.restart())
    annotated = case.seen.annotations.get(azure.TENANT_ID, "")
    tenant = annotated if azure.is_guid(annotated) else "TENANT_ID"
    chart = ("workload-identity-webhook", "azure-workload-identity/workload-identity-webhook")
    where = ("--namespace", "azure-workload-identity-system", "--create-namespace")
    return (
        "helm repo add azure-workload-identity https://azure.github.io/azure-workload-identity/charts",
        case.kubectl.helm("install", *chart, *where, "--set", f"azureTenantID={tenant}"),
        *case.restart(),
    )


def _is_aks(case: Case) -> bool:
    return (
        host_of(case.issuer).endswith(".oic.prod-aks.azure.com")
        or case.node_label("kubernetes.azure.com/cluster") is not None
    )


def _aks(case: Case) -> tuple[str, str]:
    return azure.aks_of(case.node_label("kubernetes.azure.com/cluster"))


def _federated(case: Case, client_id: str | None) -> Step:
    """Nobody here can see into Entra; what has to be there can be told to the letter."""
    issuer = case.issuer or "ISSUER"
    name = f"{case.name.namespace}-{case.name.name}"[:120]
    fix = azure.federate_commands(client_id, name, issuer, case.name.subject, _audience(case))
    return unseen(
        "federated credential", f"is in Entra; it must say issuer {issuer}, subject {case.name.subject}", *fix
    )
