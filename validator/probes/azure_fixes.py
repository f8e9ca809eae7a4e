"""The exact command that mends a location of Azure, where there is one. Pure; goes into the evidence as `fix`.

Every name in it is quoted for a shell: names come from people, issuer and subject from a token.
"""

from __future__ import annotations

from shlex import quote

from validator.locations import Location
from validator.probes.azure_clouds import AzureCloud
from validator.probes.projected import Claims
from validator.reasons import Reason


def container_scope(location: Location) -> str:
    """The resource id of the container, looked up by the command itself where the location does not know it."""
    return f"{account_scope(location)}/blobServices/default/containers/{location.container}"


def account_scope(location: Location) -> str:
    """The resource id of the account."""
    if location.subscription_id is None or location.resource_group is None:
        return f"$(az storage account show --name {quote(location.account or '')} --query id --output tsv)"
    return (
        f"/subscriptions/{location.subscription_id}/resourceGroups/{location.resource_group}"
        f"/providers/Microsoft.Storage/storageAccounts/{location.account}"
    )


def storage_fix(reason: Reason, location: Location, client_id: str) -> str | None:
    """For what the storage or the Resource Manager answered."""
    account, container = quote(location.account or ""), quote(location.container)
    match reason:
        case Reason.ROLE_MISSING | Reason.WRITE_REFUSED:
            return _assign("Storage Blob Data Contributor", client_id, container_scope(location))
        case Reason.OBJECT_LOCK_UNREADABLE:
            return _assign("Reader", client_id, account_scope(location))
        case Reason.CONTAINER_NOT_FOUND:
            return f"az storage container create --auth-mode login --account-name {account} --name {container}"
        case Reason.NETWORK_BLOCKED:
            return f"az storage account network-rule add --account-name {account} --subnet SUBNET_ID"
        case Reason.OBJECT_LOCK_MISCONFIGURED if location.resource_group is not None:
            return (
                f"az storage container immutability-policy create --account-name {account} --container-name "
                f"{container} --resource-group {quote(location.resource_group)} --period DAYS"
            )
        case _:
            return None


def identity_fix(reason: Reason, client_id: str, claims: Claims, cloud: AzureCloud) -> str | None:
    """For what Entra answered; issuer and subject are those of the token that it refused."""
    if not claims.issuer or not claims.subject:
        return None
    rest = f"--identity-name $NAME --resource-group $GROUP --subject {quote(claims.subject)}"
    find = (
        f'read NAME GROUP <<< "$(az identity list --query "[?clientId==\'{client_id}\'].[name,resourceGroup]" -o tsv)"'
    )
    match reason:
        case Reason.FEDERATION_MISSING:
            create = f"az identity federated-credential create --name muster-agent {rest}"
            return f"{find}; {create} --issuer {quote(claims.issuer)} --audiences {quote(cloud.audience)}"
        case Reason.FEDERATION_SUBJECT_MISMATCH:
            update = f"az identity federated-credential update --name CREDENTIAL {rest}"
            return f"{find}; {update} --issuer {quote(claims.issuer)} --audiences {quote(cloud.audience)}"
        case _:
            return None


def _assign(role: str, client_id: str, scope: str) -> str:
    # Double quotes, so that a scope that looks itself up does so; names that passed the rules hold nothing to expand.
    return f'az role assignment create --role "{role}" --assignee {quote(client_id)} --scope "{scope}"'
