"""Reasons of a backup location: what the provider's storage answers, and what is found in it.

`{endpoint}` is the location's URL, `{cluster}` the cluster from which it was asked about. Sources: Microsoft's "Storage
403 errors" and "Common REST API error codes", Amazon's "S3 error responses", Google's "HTTP status and error codes".
"""

from __future__ import annotations

from validator.words import Health, Reason, ReasonInfo, Stage

_GONE, _BAD, _WARN = Health.UNREACHABLE, Health.UNHEALTHY, Health.DEGRADED

STORAGE_ROWS: dict[Reason, ReasonInfo] = {
    Reason.ACCOUNT_NOT_FOUND: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The storage account's name does not exist in DNS: misspelt, deleted, or of another cloud (Global, China).",
        "Compare the account's name with the portal (Storage accounts > Overview) and the location's environment "
        "(AzurePublicCloud, AzureChinaCloud). With a private endpoint, link the private DNS zone "
        "(`privatelink.blob.core.windows.net`) to the network of {cluster}.",
    ),
    Reason.ACCOUNT_DISABLED: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The provider has disabled the account or its subscription (quota, payment, policy).",
        "Azure: portal > Subscriptions > Overview shows the state; re-enable the subscription. AWS and Google: check "
        "billing and the state of the account or project.",
    ),
    Reason.CONTAINER_NOT_FOUND: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The account answers, but has no container or bucket of this name.",
        "Check the name of {endpoint}, or create it. Azure: `az storage container create --auth-mode login`; "
        "AWS: `aws s3api create-bucket`; Google: `gcloud storage buckets create`.",
    ),
    Reason.CONTAINER_UNAVAILABLE: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The container is being deleted or has been disabled.",
        "Wait until a deletion is over (Azure: 30 s and more), then create {endpoint} again; a disabled one needs the "
        "provider's support. With container soft delete it can be restored (portal > Containers > Show deleted).",
    ),
    Reason.INVALID_LOCATION_NAME: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The provider does not accept the name of the account, container or bucket.",
        "Correct the name; the message quotes the provider's rule. A container name has no prefix and no slash.",
    ),
    Reason.ROLE_MISSING: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The identity is known, but has no right on the data, or was given it only minutes ago.",
        "Azure: assign Storage Blob Data Contributor on {endpoint} to the identity in the evidence; Owner is not "
        "enough (it grants no data access), and an assignment takes up to 10 minutes. AWS: allow s3:ListBucket, "
        "s3:GetObject, s3:PutObject and s3:DeleteObject. Google: grant roles/storage.objectUser and "
        "storage.buckets.get. `fix` in the evidence has the command.",
    ),
    Reason.NETWORK_BLOCKED: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The provider's firewall refuses the network from which {cluster} asks; roles are not the cause.",
        "Azure: portal > storage account > Networking: allow the subnet of {cluster}, or use a private endpoint "
        "(`az storage account network-rule add`). AWS: bucket policy or VPC endpoint policy. Google: VPC Service "
        "Controls perimeter.",
    ),
    Reason.IDENTITY_REJECTED: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "There is a token, but the storage does not accept it: of another tenant, for another audience, or expired.",
        "Check that the identity is of the same tenant as the account's subscription, and the clock of {cluster}.",
    ),
    Reason.KEY_AUTH_REFUSED: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The account does not allow access with account keys or shared access signatures.",
        "Use workload identity for this location; don't turn key access on again (portal > storage account > "
        "Configuration > Allow storage account key access).",
    ),
    Reason.STORAGE_THROTTLED: ReasonInfo(
        Stage.STORAGE,
        _WARN,
        True,
        "The provider sheds load (429, 503 ServerBusy, SlowDown); Retry-After is honoured.",
        "See who else uses the account of {endpoint} (Azure: Insights > Failures; limits are per account), or spread "
        "the backups over several.",
    ),
    Reason.STORAGE_UNAVAILABLE: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        True,
        "The provider answers with an error of its own, or the account is still being created.",
        "Look at the provider's status page for the region of {endpoint}; nothing is wrong on {cluster}.",
    ),
    Reason.STORAGE_TIMEOUT: ReasonInfo(
        Stage.STORAGE,
        _GONE,
        True,
        "The storage did not answer whole before the deadline.",
        "From a pod on {cluster}, try `curl -v` to {endpoint}. A firewall or a network policy that drops packets looks "
        "like this, and so does a private endpoint without a route.",
    ),
    Reason.STORAGE_UNREACHABLE: ReasonInfo(
        Stage.STORAGE,
        _GONE,
        True,
        "No connection to the storage: refused, reset, no route, or no name server.",
        "Check egress of {cluster} (network policies, firewall, proxy, DNS) to {endpoint}.",
    ),
    Reason.STORAGE_TLS_FAILED: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "What answers at the storage's address has no certificate that is trusted for its name, or speaks no TLS.",
        "Look for an intercepting proxy between {cluster} and {endpoint} and exempt the storage from it, or give the "
        "asker its CA. Do not skip verification.",
    ),
    Reason.WRONG_REGION: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The bucket is in another region than the location says.",
        "Set the location's region to the one in the evidence.",
    ),
    Reason.ENDPOINT_REFUSED: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The name resolves to an address to which a probe never connects (link-local, metadata, loopback), or the "
        "endpoint is not on the asker's allow-list; no token was sent.",
        "Find out who answers DNS for {endpoint} from {cluster}; it may be an attempt to steal a token. A private "
        "endpoint of your own has a routable address; an emulator has to be allowed in the asker's own settings.",
    ),
    Reason.UNEXPECTED_STORAGE_ANSWER: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "Something answers, but not as this provider's storage does.",
        "Check what answers at {endpoint} (a proxy, a portal); the status and code in the evidence say what it said.",
    ),
    Reason.OBJECT_LOCK_SETTINGS_MISSING: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The container is immutable, but the location has no resource group and subscription id, or not the account's "
        "own; without them its retention can't be read.",
        "Create the location again with both (portal > storage account > Overview shows them); they can't be added "
        "to an existing location.",
    ),
    Reason.OBJECT_LOCK_UNREADABLE: ReasonInfo(
        Stage.STORAGE,
        _WARN,
        False,
        "Object lock is unknown: the identity may not read its settings. Backups are not affected.",
        "Azure: Storage Blob Data Contributor does not contain it; assign Reader on the storage account (it has "
        "Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies/read). AWS: allow "
        "s3:GetBucketObjectLockConfiguration. Google: grant storage.buckets.get. `fix` in the evidence has the "
        "command.",
    ),
    Reason.OBJECT_LOCK_MISCONFIGURED: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The container has object lock, but not so that backups are kept: no default retention, or no versioning.",
        "Azure: set a time-based retention policy with version-level immutability; AWS: `aws s3api "
        "put-object-lock-configuration` with a default retention; Google: a retention policy or object retention on "
        "the bucket. The message says which is missing.",
    ),
    Reason.WRITE_REFUSED: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "Reading works, but the write probe could not write, read or delete its own object.",
        "Give the identity the write part of the role too (Azure: Storage Blob Data Contributor instead of Reader); a "
        "read-only lock (portal > Locks) or a read-only secondary also looks like this.",
    ),
    Reason.READ_BACK_MISMATCH: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The write probe read back something else than it had written.",
        "Look for a cache or gateway between {cluster} and {endpoint}, and for another writer under the probe's "
        "prefix; do not trust backups through it until it is found.",
    ),
    Reason.WRITE_PROBE_IMMUTABLE: ReasonInfo(
        Stage.STORAGE,
        _WARN,
        False,
        "The write probe is on, but the container is immutable: its object could not be deleted again. Nothing was "
        "written; reading works.",
        "Turn the write probe off for this location; reading and listing are checked anyway.",
    ),
    Reason.BACKUPS_TOO_OLD: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The newest backup of the cluster in this location is older than the threshold, or there is none.",
        "Look at the schedules and the last backups of {cluster} (`velero backup get`, `kubectl get "
        "applicationbackups -A`).",
    ),
    Reason.BACKUP_FILES_MISSING: ReasonInfo(
        Stage.STORAGE,
        _BAD,
        False,
        "The metadata of a backup names objects that are not in the location: it can't be restored.",
        "Find out what deleted them (lifecycle rules, people); restore them from soft delete or versions, and take a "
        "new backup of {cluster}. The evidence counts and names them.",
    ),
    Reason.BACKUPS_UNKNOWN: ReasonInfo(
        Stage.STORAGE,
        Health.UNKNOWN,
        False,
        "The list of the location does not tell about the backups of {cluster}: it was cut short, or several clusters "
        "use the location and the layout names none.",
        "Give the Velero of each cluster a prefix with the cluster's name (`spec.objectStorage.prefix`), or each "
        "cluster a location of its own; lists are shorter then, too. `muster locations inventory` shows what is there.",
    ),
}
