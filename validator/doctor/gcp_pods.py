"""Google Cloud: GKE's metadata server, or, elsewhere, a workload identity pool. Pure.

On GKE nothing is injected: the node's metadata server tells pods apart, so an annotation needs no restart, and what
counts is the node. A pod on the host's network, or on a node without that server, silently gets the node's identity.

Sources: Google's "About Workload Identity Federation for GKE" and "Troubleshoot authentication issues in GKE".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import join

from validator.doctor import gcp, pods
from validator.doctor.case import Case
from validator.doctor.facts import Unread
from validator.doctor.issuer import issuer_step
from validator.doctor.spelling import misspelt
from validator.doctor.step import Step, bad, good, listed, unseen
from validator.model import Outcome
from validator.printable import printable
from validator.reasons import Reason

GOOGLE_ACCOUNT = "iam.gke.io/gcp-service-account"
SERVER_LABEL = "iam.gke.io/gke-metadata-server-enabled"
POOL_LABEL = "cloud.google.com/gke-nodepool"

_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_EMAIL = re.compile(r"[a-z0-9-]{1,63}@[a-z0-9.:-]{1,200}\.gserviceaccount\.com")
_PROJECT = "PROJECT"
_ISSUER = re.compile(
    r"https://container\.googleapis\.com/v1/projects/(?P<project>[\w.:-]+)/locations/(?P<location>[\w-]+)"
    r"/clusters/(?P<cluster>[\w-]+)"
)
_PROVIDER = re.compile(r"gce://(?P<project>[\w.:-]+)/(?P<location>[\w-]+)/[\w-]+")
_CONTEXT = re.compile(r"gke_(?P<project>[\w.:-]+?)_(?P<location>[\w-]+?)_(?P<cluster>[\w-]+)")


@dataclass(frozen=True, slots=True)
class Gke:
    """How Google calls the cluster; words in capitals where it can't be known."""

    project: str = _PROJECT
    location: str = "LOCATION"
    cluster: str = "GKE_CLUSTER"


def gke_of(case: Case) -> Gke | None:
    """From the issuer, which has all of it, or the context's name and the nodes; None where it is no GKE."""
    if found := _ISSUER.fullmatch(case.issuer or "") or _CONTEXT.fullmatch(case.cluster_name):
        return Gke(found["project"], found["location"], found["cluster"])
    for node in case.nodes:
        if POOL_LABEL in node.labels:
            place = _PROVIDER.fullmatch(node.provider_id)
            return Gke(place["project"] if place else _PROJECT)
    return None


def gcp_steps(case: Case) -> Iterator[Step]:
    """The checklist, in the order in which a person would mend it."""
    gke = gke_of(case)
    if gke is None and any(pod.has(_FILE) for pod in case.pods):
        yield from _pool(case)
        return
    gke = gke or Gke()
    account = case.seen.annotations.get(GOOGLE_ACCOUNT)
    yield _annotation(case, account, gke)
    yield pods.pods_step(case)
    if host := _host_network(case):
        yield host
    yield _servers(case, gke)
    if static := pods.static_step(case, _FILE):
        yield static
    yield _binding(case, account, gke)


def _annotation(case: Case, account: str | None, gke: Gke) -> Step:
    if account and _EMAIL.fullmatch(account):
        return good("annotation", f"{GOOGLE_ACCOUNT} = {account}")
    accounts = join(["gcloud", "iam", "service-accounts", "list", "--project", gke.project])
    fix = (accounts, case.kubectl.annotate(case.name, GOOGLE_ACCOUNT, "GOOGLE_SERVICE_ACCOUNT_EMAIL"))
    if account is not None:
        seen = f"{GOOGLE_ACCOUNT} is {printable(account)!r}, which is no service account's e-mail"
        return bad("annotation", Reason.IDENTITY_NOT_FOUND, seen, fix)
    if wrong := misspelt(case, GOOGLE_ACCOUNT):
        return wrong
    member = gcp.gke_member(gke.project, case.name.namespace, case.name.name)
    direct = gcp.bucket_command("BUCKET", member)
    seen = f"{case.name} has no {GOOGLE_ACCOUNT}: only roles count that {member} itself has"
    return bad("annotation", Reason.SERVICE_ACCOUNT_NOT_ANNOTATED, seen, (*fix, f"# or: {direct}"), Outcome.FINDING)


def _host_network(case: Case) -> Step | None:
    on_host = [pod for pod in case.pods if pod.host_network]
    if not on_host:
        return None
    seen = f"{pods.names(on_host)} use the host's network, where pods get the node's identity"
    owners = listed(f"{pod.owner.kind} {pod.owner.name}" if pod.owner else pod.name for pod in on_host)
    return bad("network", Reason.WRONG_IDENTITY, seen, (f"# set hostNetwork: false in the pod template of {owners}",))


def _servers(case: Case, gke: Gke) -> Step:
    if isinstance(case.seen.nodes, Unread):
        unread = case.seen.nodes
        return pods.forbidden(case, "nodes", unread) if unread.forbidden else unseen("nodes", unread.message)
    without = [node for node in case.nodes if node.labels.get(SERVER_LABEL) != "true"]
    if not case.nodes:
        return unseen("nodes", "none was seen")
    if not without:
        return good("nodes", f"GKE's metadata server runs on {listed(node.name for node in case.nodes)}")
    where = ("--project", gke.project, "--location", gke.location)
    pools = dict.fromkeys(node.labels.get(POOL_LABEL, "NODE_POOL") for node in without)
    pool = f"--workload-pool={gke.project}.svc.id.goog"
    update = ("gcloud", "container", "node-pools", "update")
    fix = (
        join(["gcloud", "container", "clusters", "update", gke.cluster, *where, pool]),
        *(
            join([*update, name, "--cluster", gke.cluster, *where, "--workload-metadata=GKE_METADATA"])
            for name in pools
        ),
    )
    seen = f"{listed(node.name for node in without)}: no {SERVER_LABEL}=true, so pods there get the node's identity"
    return bad("nodes", Reason.WRONG_IDENTITY, seen, fix)


def _binding(case: Case, account: str | None, gke: Gke) -> Step:
    """Nobody here can see into IAM; what has to be there can be told to the letter."""
    member = gcp.gke_member(gke.project, case.name.namespace, case.name.name)
    if account is None:
        return unseen(
            "roles", f"are in IAM; the bucket must give them to {member}", gcp.bucket_command("BUCKET", member)
        )
    command = gcp.impersonation_command(account, member)
    return unseen("binding", f"is in IAM; {printable(account)} must let {member} act as it", command)


def _pool(case: Case) -> Iterator[Step]:
    """Not GKE: a credential file that names a pool, and a projected token for it."""
    yield pods.pods_step(case)
    tokens = [token for pod in case.pods for one in pod.containers for token in one.tokens if token.audience]
    federated = [token for token in tokens if "/workloadIdentityPools/" in token.audience]
    if federated:
        token = federated[0]
        life = f"lives {token.lifetime_s // 60} min, at {printable(token.path)}"
        yield good("token", f"audience {printable(token.audience)}, {life}")
        yield issuer_step(case)
        audience = token.audience.removeprefix("https:")
        member = gcp.pool_member(audience, case.name.subject)
        seen = f"is in Google Cloud; the pool must trust {case.issuer or 'ISSUER'} for {case.name.subject}"
        yield unseen("pool", seen, gcp.bucket_command("BUCKET", member))
        return
    seen = f"{_FILE} is set, but no token for a workload identity pool is mounted: is the file a key?"
    fix = case.kubectl.unset(case.name.namespace, case.pods, _FILE)
    yield bad("token", Reason.TOKEN_AUDIENCE_WRONG, seen, fix)
