"""What has to stand in Azure for a pod's identity to work, as commands. Pure: no Azure is asked.

Sources: "Deploy and configure workload identity on an AKS cluster", and the installation page of
azure-workload-identity. `az` finds the identity by its client id, so that nobody has to look up its name.
"""

from __future__ import annotations

import json
import re
from shlex import join, quote

AUDIENCE = "api://AzureADTokenExchange"
CHINA_AUDIENCE = "api://AzureADTokenExchangeChina"

CLIENT_ID = "azure.workload.identity/client-id"
TENANT_ID = "azure.workload.identity/tenant-id"
USE_LABEL = "azure.workload.identity/use"

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_guid(text: str) -> bool:
    """Whether it can be a client or tenant id."""
    return _GUID.fullmatch(text) is not None


def federate_commands(client_id: str | None, name: str, issuer: str, subject: str, audience: str) -> tuple[str, ...]:
    """Makes the identity trust this service account of this cluster: a managed identity, or else an app.

    Issuer and subject are compared letter by letter by Entra. One issuer and subject can be there once, so that a
    second try says so and changes nothing.
    """
    credential = join(
        [*("--name", name, "--issuer", issuer, "--subject", subject, "--audiences", audience)],
    )
    app = {"name": name, "issuer": issuer, "subject": subject, "audiences": [audience]}
    parameters = quote(json.dumps(app, separators=(",", ":")))
    if client_id is None or not is_guid(client_id):
        whose = "--identity-name IDENTITY --resource-group RESOURCE_GROUP"
        return (f"az identity federated-credential create {whose} {credential}",)
    query = f"[?clientId=='{client_id}'].[name,resourceGroup]"
    return (
        f'read -r NAME GROUP <<< "$(az identity list --query "{query}" --output tsv)"',
        'az identity federated-credential list --identity-name "$NAME" --resource-group "$GROUP" --output table',
        "# if issuer and subject are not in that list:",
        f'az identity federated-credential create --identity-name "$NAME" --resource-group "$GROUP" {credential}',
        f"# an app registration: az ad app federated-credential create --id {client_id} --parameters {parameters}",
    )


def list_identities_command() -> str:
    """Which client ids there are."""
    query = "[].{name:name,group:resourceGroup,clientId:clientId,tenantId:tenantId}"
    return join(["az", "identity", "list", "--query", query, "--output", "table"])


def aks_commands(cluster: str, resource_group: str) -> tuple[str, ...]:
    """Issuer and webhook as parts of AKS itself."""
    where = ("--name", cluster, "--resource-group", resource_group)
    return (join(["az", "aks", "update", *where, "--enable-oidc-issuer", "--enable-workload-identity"]),)


def aks_of(node_resource_group: str | None) -> tuple[str, str]:
    """Cluster and resource group, from the label `kubernetes.azure.com/cluster` of its nodes (`MC_group_name_region`).

    Underscores in the names make it ambiguous; then, or where somebody chose the group's name, words to be replaced.
    """
    parts = (node_resource_group or "").split("_")
    if len(parts) == 4 and parts[0].upper() == "MC":
        return parts[2], parts[1]
    return "AKS_CLUSTER", "RESOURCE_GROUP"
