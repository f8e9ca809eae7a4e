"""The words of health: states, stages, reasons, and what a row of the table of reasons says.

The rows themselves are in `validator/reason_rows/`; `validator/reasons.py` joins them and is what others import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from validator.locations import Provider
from validator.remedies import CLOUDS, of_cloud


class Health(StrEnum):
    """State of a check or of a whole subject, after hysteresis."""

    SUSPENDED = "Suspended"
    UNREACHABLE = "Unreachable"
    UNHEALTHY = "Unhealthy"
    UNKNOWN = "Unknown"
    DEGRADED = "Degraded"
    HEALTHY = "Healthy"


PRECEDENCE: tuple[Health, ...] = (
    Health.SUSPENDED,
    Health.UNREACHABLE,
    Health.UNHEALTHY,
    Health.UNKNOWN,
    Health.DEGRADED,
    Health.HEALTHY,
)
"""Worst first: a subject's health is the first of these that any of its checks has."""

SEVERITY: Mapping[Health, int] = MappingProxyType({health: i for i, health in enumerate(reversed(PRECEDENCE))})
"""0 = Healthy; higher is worse. The order of hysteresis and of every "worst first" listing."""


class Stage(StrEnum):
    """How far a question came before it failed."""

    CREDENTIAL = "credential"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    HTTP = "http"
    READ = "read"
    HUB = "hub"
    SOURCE = "source"
    IDENTITY = "identity"
    """Getting a token of the cloud for the pod's own identity, and everything on the cluster that this takes."""
    STORAGE = "storage"
    """Asking the storage provider."""
    RESOURCE = "resource"
    """Reading a custom resource (Velero, Stork) over the cluster's API, and what it says."""
    AGENT = "agent"


class Reason(StrEnum):
    """Why a check is not healthy. CamelCase as in Kubernetes conditions."""

    # dns
    DNS_NAME_NOT_FOUND = "DNSNameNotFound"
    DNS_TIMEOUT = "DNSTimeout"
    DNS_FAILURE = "DNSFailure"
    # connect
    CONNECT_TIMEOUT = "ConnectTimeout"
    CONNECTION_REFUSED = "ConnectionRefused"
    NETWORK_UNREACHABLE = "NetworkUnreachable"
    PROXY_FAILED = "ProxyFailed"
    ADDRESS_FAMILY_DOWN = "AddressFamilyDown"
    # tls
    TLS_TIMEOUT = "TLSTimeout"
    TLS_HANDSHAKE_FAILED = "TLSHandshakeFailed"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_NOT_YET_VALID = "CertificateNotYetValid"
    CERTIFICATE_UNTRUSTED = "CertificateUntrusted"
    CERTIFICATE_NAME_MISMATCH = "CertificateNameMismatch"
    CERTIFICATE_EXPIRING_SOON = "CertificateExpiringSoon"
    TLS_VERIFICATION_DISABLED = "TLSVerificationDisabled"
    CLIENT_CERTIFICATE_REJECTED = "ClientCertificateRejected"
    # http
    ANSWER_TIMEOUT = "AnswerTimeout"
    CONNECTION_CLOSED = "ConnectionClosed"
    MALFORMED_ANSWER = "MalformedAnswer"
    ANSWER_TOO_LARGE = "AnswerTooLarge"
    UNEXPECTED_REDIRECT = "UnexpectedRedirect"
    UNEXPECTED_ANSWER = "UnexpectedAnswer"
    NOT_READY = "NotReady"
    SERVER_ERROR = "ServerError"
    SERVICE_UNAVAILABLE = "ServiceUnavailable"
    THROTTLED = "Throttled"
    SLOW_ANSWER = "SlowAnswer"
    CLOCK_SKEW = "ClockSkew"
    # read
    READ_STALLED = "ReadStalled"
    READ_FAILED = "ReadFailed"
    # credential
    CREDENTIAL_REJECTED = "CredentialRejected"
    CREDENTIAL_UNAVAILABLE = "CredentialUnavailable"
    CREDENTIAL_INVALID = "CredentialInvalid"
    PERMISSION_DENIED = "PermissionDenied"
    # hub
    NOT_CHECKED_YET = "NotCheckedYet"
    STALE = "Stale"
    HUB_OUT_OF_DESCRIPTORS = "HubOutOfDescriptors"
    PROBE_DEFECT = "ProbeDefect"
    NO_ASKER = "NoAsker"
    VALIDATION_TIMEOUT = "ValidationTimeout"
    # source
    IDENTITY_CONFLICT = "IdentityConflict"
    CREATING = "Creating"
    HIBERNATED = "Hibernated"
    WAKING = "Waking"
    MAINTENANCE = "Maintenance"
    MIGRATING = "Migrating"
    DELETING = "Deleting"
    PAUSED = "Paused"
    # storage
    ACCOUNT_NOT_FOUND = "AccountNotFound"
    ACCOUNT_DISABLED = "AccountDisabled"
    CONTAINER_NOT_FOUND = "ContainerNotFound"
    CONTAINER_UNAVAILABLE = "ContainerUnavailable"
    INVALID_LOCATION_NAME = "InvalidLocationName"
    ROLE_MISSING = "RoleMissing"
    NETWORK_BLOCKED = "NetworkBlocked"
    IDENTITY_REJECTED = "IdentityRejected"
    KEY_AUTH_REFUSED = "KeyAuthRefused"
    STORAGE_THROTTLED = "StorageThrottled"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    STORAGE_TIMEOUT = "StorageTimeout"
    STORAGE_UNREACHABLE = "StorageUnreachable"
    STORAGE_TLS_FAILED = "StorageTLSFailed"
    WRONG_REGION = "WrongRegion"
    ENDPOINT_REFUSED = "EndpointRefused"
    UNEXPECTED_STORAGE_ANSWER = "UnexpectedStorageAnswer"
    OBJECT_LOCK_SETTINGS_MISSING = "ObjectLockSettingsMissing"
    OBJECT_LOCK_UNREADABLE = "ObjectLockUnreadable"
    OBJECT_LOCK_MISCONFIGURED = "ObjectLockMisconfigured"
    WRITE_REFUSED = "WriteRefused"
    READ_BACK_MISMATCH = "ReadBackMismatch"
    WRITE_PROBE_IMMUTABLE = "WriteProbeImmutable"
    BACKUPS_TOO_OLD = "BackupsTooOld"
    BACKUP_FILES_MISSING = "BackupFilesMissing"
    BACKUPS_UNKNOWN = "BackupsUnknown"
    # identity
    FEDERATION_MISSING = "FederationMissing"
    FEDERATION_SUBJECT_MISMATCH = "FederationSubjectMismatch"
    IDENTITY_NOT_FOUND = "IdentityNotFound"
    TENANT_NOT_FOUND = "TenantNotFound"
    WRONG_CLOUD = "WrongCloud"
    ASSERTION_EXPIRED = "AssertionExpired"
    ASSERTION_SIGNATURE_INVALID = "AssertionSignatureInvalid"
    ISSUER_UNREACHABLE = "IssuerUnreachable"
    ASSERTION_NOT_FEDERATED = "AssertionNotFederated"
    TRUST_POLICY_MISSING = "TrustPolicyMissing"
    IDENTITY_UNAVAILABLE = "IdentityUnavailable"
    WRONG_IDENTITY = "WrongIdentity"
    RESTART_NEEDED = "RestartNeeded"
    SERVICE_ACCOUNT_NOT_ANNOTATED = "ServiceAccountNotAnnotated"
    POD_LABEL_MISSING = "PodLabelMissing"
    WEBHOOK_MISSING = "WebhookMissing"
    TOKEN_AUDIENCE_WRONG = "TokenAudienceWrong"  # noqa: S105 - not a token
    TOKEN_EXPIRED = "TokenExpired"  # noqa: S105 - not a token
    # resource
    RESOURCE_ABSENT = "ResourceAbsent"
    RESOURCE_FORBIDDEN = "ResourceForbidden"
    RESOURCE_UNAVAILABLE = "ResourceUnavailable"
    RESOURCE_STALE = "ResourceStale"
    RESOURCE_READ_ONLY = "ResourceReadOnly"
    RESOURCE_PHASE_UNKNOWN = "ResourcePhaseUnknown"
    VERSION_TOO_OLD = "VersionTooOld"
    STANDALONE_STORK = "StandaloneStork"
    # agent
    AGENT_SILENT = "AgentSilent"
    AGENT_DROPS = "AgentDropsVerdicts"


@dataclass(frozen=True, slots=True)
class ReasonInfo:
    """One row of the table."""

    stage: Stage
    health: Health
    """What the reason leads to once hysteresis has confirmed it."""
    transient: bool
    """True where waiting may mend it; False where a person has to act."""
    means: str
    remedy: str
    """What to do, in the imperative; the placeholders `{cluster}` and `{endpoint}` are filled when shown. For a pair
    they are the cluster that asks and the location's URL. Where the exact command differs by provider, the evidence has
    it under `fix`."""

    def remedy_for(self, cluster: str, endpoint: str, provider: Provider | None = None) -> str:
        """The remedy with this cluster's name and endpoint in it; of a provider's storage without the other clouds'."""
        text = self.remedy if provider is None else of_cloud(self.remedy, CLOUDS[provider])
        return text.replace("{cluster}", cluster).replace("{endpoint}", endpoint)
