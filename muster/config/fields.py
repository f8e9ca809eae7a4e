"""Every setting, with its unit and its reason. Bounds and defaults are nowhere else."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from muster.config import values
from muster.config.values import DEFAULT_LISTEN, address, split
from store.errors import StoreRefused
from store.owner import default_data_dir
from validator.discovery.kubeconfig import kubeconfig_paths
from validator.resources.stork import STATUS_PATHS

PREFIX = "MUSTER_"

MAX_ENTRIES = 100
"""Most entries of one list setting: more is a pasted file."""

CONTRADICTION = "contradiction"
"""Type of the pydantic error for settings that do not go together."""

_IN_CLEAR_TEXT = (
    "{host} is more than this machine, and tokens would cross the network in clear text. Give TLS files "
    "(tls_certificate and tls_key); or set behind_proxy, with a proxy before it that ends TLS; or listen on "
    f"{DEFAULT_LISTEN} and come through `ssh -L 8645:{DEFAULT_LISTEN} HOST`"
)
_NO_NAME = (
    "{host} is every address of this machine, and hosts is empty, so nobody could call the API by a name that is "
    'allowed. Say which names people use, e.g. hosts = ["muster.example.com"] (--host)'
)

File = Annotated[Path, AfterValidator(values.path)]


def _default_data_dir() -> Path:
    try:
        return default_data_dir()
    except StoreRefused:  # no home; only matters where the embedded database is used, which then names this directory
        return Path("/var/lib/muster")


class Settings(BaseSettings):
    """How one instance runs. Frozen: a change makes another one."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    # where things are
    database_url: Annotated[SecretStr | None, AfterValidator(values.database_url)] = Field(
        None, examples=["postgresql://muster:password@db.example.com/muster"]
    )
    """PostgreSQL to keep everything in, `postgresql://user:password@host/database`. None = the embedded one. It has no
    flag, since flags are seen by everybody on the machine, and is taken from a file only if no one else may read it."""
    database_url_file: File | None = Field(None, examples=["/etc/muster/database-url"])
    """File that holds the database's URL and nothing else: a mounted Secret, say. In place of `database_url`."""
    data_dir: File = Field(default_factory=_default_data_dir, examples=["/var/lib/muster"])
    """Directory of the embedded database. Default: /var/lib/muster as root, else ~/.local/share/muster."""

    # who may call
    listen: Annotated[str, AfterValidator(values.listen)] = DEFAULT_LISTEN
    """Address and port of the API. Wider than loopback only with TLS files or `behind_proxy`. Port 0 = any free one."""
    hosts: Annotated[
        tuple[Annotated[str, AfterValidator(values.host)], ...], NoDecode, split(","), Field(max_length=MAX_ENTRIES)
    ] = Field((), examples=[["muster.example.com"]])
    """Names and addresses by which the API may be called, beside loopback; any other is refused, against DNS rebinding.
    Listening on 0.0.0.0 or :: needs at least one."""
    tls_certificate: File | None = Field(None, examples=["/etc/muster/tls.crt"])
    """PEM file with the API's certificate and the chain. A new one is taken up without a restart."""
    tls_key: File | None = Field(None, examples=["/etc/muster/tls.key"])
    """PEM file with the certificate's key. Both or neither."""
    behind_proxy: bool = False
    """Whether a proxy stands before the API that ends TLS, and nobody else reaches the port."""
    agent_listen: Annotated[str | None, AfterValidator(values.maybe_listen)] = Field(None, examples=["0.0.0.0:8646"])
    """Address and port where agents in tenants' clusters report, always with TLS. None = agents can't report. It is not
    `listen`: tenants reach this one, and have no business at the API."""
    agent_tls_certificate: File | None = Field(None, examples=["/etc/muster/agent-tls.crt"])
    """PEM file with the certificate and chain for the agents' address. A new one is taken up without a restart."""
    agent_tls_key: File | None = Field(None, examples=["/etc/muster/agent-tls.key"])
    """PEM file with that certificate's key."""
    agent_url: Annotated[str | None, AfterValidator(values.agent_url)] = Field(
        None, examples=["https://agents.muster.example.com:8646"]
    )
    """What agents are told to call, in the helm command that `muster clusters add` prints: a load balancer's name, say.
    None = `agent_listen`, or a name for you to fill in."""
    session_s: Annotated[float, Field(ge=300.0, le=30 * 86_400.0)] = 12 * 3600.0
    """Seconds that a browser's session lasts: a working day, so that a lost one is of no use tomorrow."""

    # what is watched
    kubeconfig: Annotated[tuple[File, ...], NoDecode, split(os.pathsep), Field(max_length=MAX_ENTRIES)] = Field(
        (), examples=[["/etc/muster/kubeconfig"]]
    )
    """Kubeconfig files, in the variable separated as in $KUBECONFIG. Empty, and no other source: what kubectl reads."""
    contexts: Annotated[tuple[str, ...], NoDecode, split(","), Field(max_length=10_000)] = Field(
        (), examples=[["prod", "stage"]]
    )
    """Contexts to take from the kubeconfigs, in the variable separated by commas. Empty = all."""
    static: Annotated[tuple[File, ...], NoDecode, split(os.pathsep), Field(max_length=MAX_ENTRIES)] = Field(
        (), examples=[["clusters.yaml"]]
    )
    """Files with a YAML list of clusters, in the variable separated as paths are."""
    in_cluster: bool = False
    """Whether to watch the cluster in which this runs, with the pod's service account."""

    # how it is asked
    interval_s: Annotated[float, Field(ge=1.0, le=3600.0)] = 30.0
    """Seconds between two questions to a cluster that answers. Below 1 s the answers would not be over in time."""
    timeout_s: Annotated[float, Field(ge=0.1, le=60.0)] = 10.0
    """Seconds that one question may take. Below the interval, or a dead cluster would be asked twice at once."""
    backoff_max_s: Annotated[float, Field(ge=1.0, le=86_400.0)] = 300.0
    """Longest time in seconds between two questions to a cluster that has been dead for long: how late a recovery may
    be seen. Also the most that a server's Retry-After is obeyed."""
    read_every: Annotated[int, Field(ge=1, le=1000)] = 4
    """Every so many questions one namespace is read too: `/readyz` alone can be green while etcd is frozen."""
    pair_interval_s: Annotated[float, Field(ge=1.0, le=86_400.0)] = 900.0
    """Seconds between two questions about a backup location from one cluster. Storage is asked less often than clusters
    are: each question costs the tenant some requests."""
    pair_timeout_s: Annotated[float, Field(ge=0.1, le=300.0)] = 30.0
    """Seconds that one question about a backup location may take, the token included. Below its interval."""
    resource_interval_s: Annotated[float, Field(ge=1.0, le=86_400.0)] = 180.0
    """Seconds between two looks at what Velero and Stork say of their locations, in clusters that have a location. They
    look for themselves once a minute, or less often."""
    identity_interval_s: Annotated[float, Field(ge=1.0, le=86_400.0)] = 900.0
    """Seconds between two looks at the workload identity of those clusters, as far as the hub can read them; rounded up
    to whole looks at resources. Some twenty GETs each."""
    direct_owners: Annotated[
        tuple[Annotated[str, AfterValidator(values.owner)], ...], NoDecode, split(","), Field(max_length=MAX_ENTRIES)
    ] = Field((), examples=[["platform-team"]])
    """Owners of locations about which the hub asks with its own workload identity where neither agent nor Velero nor
    Stork answers, in the variable separated by commas: your own, never a tenant's. Whoever may make locations can name
    any owner, so this trusts your operators. Empty = the hub asks no storage."""
    direct_endpoints: Annotated[
        tuple[Annotated[str, AfterValidator(values.endpoint)], ...],
        NoDecode,
        split(","),
        Field(max_length=MAX_ENTRIES),
    ] = Field((), examples=[["https://minio.example.com:9000"]])
    """S3-compatible stores that may see the hub's session token when it asks by itself, in the variable separated by
    commas. Amazon's own need no entry."""
    stork_status_paths: Annotated[
        tuple[str, ...], NoDecode, split(","), AfterValidator(values.status_paths), Field(max_length=10)
    ] = Field(STATUS_PATHS, examples=[["status.validationStatus.status"]])
    """Where a Stork BackupLocation has its state, tried in this order, in the variable separated by commas; all begin
    with `status.`. The path differs between versions of Stork."""
    velero_period_s: Annotated[float, Field(ge=10.0, le=7 * 86_400.0)] = 60.0
    """Seconds between two of Velero's own checks where the location does not say (`--store-validation-frequency`). What
    Velero says is not believed after 2.1 of them and a minute."""
    stork_period_s: Annotated[float, Field(ge=10.0, le=7 * 86_400.0)] = 12_600.0
    """Seconds between two of Stork's own checks (`monitorBLHealthFrequency` of Portworx Backup). What Stork says is not
    believed after 2.1 of them and a minute."""
    backup_max_age_h: Annotated[float, Field(ge=0.1, le=8760.0)] = 26.0
    """Hours that the newest backup of a cluster in a location may be old. A day, and two hours to make it in."""
    sync_interval_h: Annotated[float, Field(ge=1.0, le=8760.0)] = 24.0
    """Hours between two listings of a location that has the sync flag; one whose newest backup gets too old is listed
    earlier. Providers charge for lists."""
    reference_targets: Annotated[
        tuple[Annotated[str, AfterValidator(values.reference)], ...], NoDecode, split(","), Field(max_length=16)
    ] = Field((), examples=[["10.0.0.1:53"]])
    """address:port of things that always answer (a router, a name server), in the variable separated by commas. If none
    of them does, it is the hub that is cut off, and alerts are held."""

    # what is kept
    retention_days: Annotated[int, Field(ge=1, le=3650)] = 90
    """Days that history is kept, in whole months: a quarter is what people look back at after an incident."""

    # what it tells of itself
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(values.lower)] = "info"
    """Least level that is logged. Logs tell edges, not ticks: `info` is quiet while nothing changes."""
    log_format: Annotated[Literal["json", "console"], BeforeValidator(values.lower)] = "json"
    """`json` = a line an event for machines, `console` = for people at a terminal. Both on stderr."""
    otlp_endpoint: Annotated[str | None, AfterValidator(values.otlp)] = Field(None, examples=["http://127.0.0.1:4318"])
    """Your own OpenTelemetry collector, e.g. http://127.0.0.1:4318. None = metrics are on /metrics only."""

    # what may leave, where somebody consents
    telemetry_organisation: Annotated[str | None, Field(min_length=1, max_length=63)] = Field(None, examples=["acme"])
    """The id that your vendor gave your organisation. Without it nobody can consent to telemetry."""
    telemetry_register_url: Annotated[str | None, AfterValidator(values.telemetry_url)] = Field(
        None, examples=["https://register.example.com"]
    )
    """Where the certificate for telemetry comes from (EST). Sets nothing in motion: that takes a consent."""
    telemetry_ingest_url: Annotated[str | None, AfterValidator(values.telemetry_url)] = Field(
        None, examples=["https://ingest.example.com"]
    )
    """Where telemetry goes (OTLP). Another host needs another consent. Neither URL = `muster telemetry export` only."""

    telemetry_ca_file: File | None = Field(None, examples=["/etc/muster/telemetry-ca.pem"])
    """PEM file with the certificates that both of them are believed by, from your vendor. No others count."""
    telemetry_proxy: Annotated[SecretStr | None, AfterValidator(values.telemetry_proxy)] = Field(
        None, examples=["http://proxy.example.com:3128"]
    )
    """The HTTP proxy on the way to them, with user and password where it wants them; `direct` = none, whatever
    `https_proxy` says. One that can't be used is never gone round."""
    telemetry_secret: Annotated[str | None, AfterValidator(values.telemetry_secret)] = Field(
        None, examples=["muster-telemetry"]
    )
    """Kubernetes Secret (NAME or NAMESPACE/NAME) that the keys for telemetry are kept in, for Muster in a pod. None =
    files in data_dir. One for each instance. Switch telemetry off before you change it."""

    def contradictions(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """What does not go together: the keys concerned, and a sentence."""
        if self.timeout_s >= self.interval_s:
            told = f"timeout_s is {self.timeout_s:g} and interval_s is {self.interval_s:g}"
            yield ("timeout_s", "interval_s"), f"{told}; the timeout has to be below the interval"
        if self.pair_timeout_s >= self.pair_interval_s:
            told = f"pair_timeout_s is {self.pair_timeout_s:g} and pair_interval_s is {self.pair_interval_s:g}"
            yield ("pair_timeout_s", "pair_interval_s"), f"{told}; the timeout has to be below the interval"
        if (self.tls_certificate is None) != (self.tls_key is None):
            missing = "tls_key" if self.tls_key is None else "tls_certificate"
            yield ("tls_certificate", "tls_key"), f"{missing} is missing; a certificate and its key go together"
        if (self.telemetry_register_url is None) != (self.telemetry_ingest_url is None):
            missing = "telemetry_ingest_url" if self.telemetry_ingest_url is None else "telemetry_register_url"
            yield ("telemetry_register_url", "telemetry_ingest_url"), f"{missing} is missing; they go together"
        if self.telemetry_register_url is not None and self.telemetry_ca_file is None:
            told = "telemetry_ca_file is missing: without it no endpoint would be believed"
            yield ("telemetry_register_url", "telemetry_ca_file"), told
        needed = {"agent_tls_certificate": self.agent_tls_certificate, "agent_tls_key": self.agent_tls_key}
        missing_too = [key for key, path in needed.items() if path is None]
        if self.agent_listen is not None and missing_too:
            told = f"agent_listen needs {' and '.join(missing_too)}: agents show their tokens there, always within TLS"
            yield ("agent_listen", *missing_too), told
        host = self.listen_address[0]
        ip = ipaddress.ip_address(host)
        if not ip.is_loopback and self.tls_certificate is None and not self.behind_proxy:
            yield ("listen",), _IN_CLEAR_TEXT.format(host=host)
        if ip.is_unspecified and not self.hosts:
            yield ("listen", "hosts"), _NO_NAME.format(host=host)

    @model_validator(mode="after")
    def _no_contradictions(self) -> Self:
        if found := list(self.contradictions()):
            sentences = "; ".join(sentence for _, sentence in found)
            raise PydanticCustomError(CONTRADICTION, "{sentences}", {"sentences": sentences, "all": found})
        return self

    @property
    def listen_address(self) -> tuple[str, int]:
        """Host and port of the API."""
        return address(self.listen)

    @property
    def agent_address(self) -> tuple[str, int] | None:
        """Host and port where agents report; None: nowhere."""
        return None if self.agent_listen is None else address(self.agent_listen)

    @property
    def agents_call(self) -> str | None:
        """The URL that agents are told; None where it can't be known from here."""
        if self.agent_url is not None or self.agent_listen is None:
            return self.agent_url
        host = ipaddress.ip_address(address(self.agent_listen)[0])
        known = not host.is_unspecified and address(self.agent_listen)[1]
        return f"https://{self.agent_listen}" if known else None

    @property
    def references(self) -> tuple[tuple[str, int], ...]:
        """Address and port of each reference target."""
        return tuple(address(target) for target in self.reference_targets)

    @property
    def kubeconfig_paths(self) -> tuple[Path, ...]:
        """The files to watch: those named; else, where no other source is named either, what kubectl would read."""
        if self.kubeconfig or self.static or self.in_cluster:
            return self.kubeconfig
        return tuple(kubeconfig_paths(os.environ))
