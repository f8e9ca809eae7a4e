"""From what was seen of a cluster to the checklist of one service account. Pure: the doctor's way in."""

from __future__ import annotations

from collections.abc import Iterator

from validator.doctor.aws_pods import aws_steps
from validator.doctor.azure_pods import azure_steps
from validator.doctor.case import Case
from validator.doctor.cloud import cloud_of
from validator.doctor.facts import Cloud, Unread
from validator.doctor.gcp_pods import gcp_steps
from validator.doctor.pods import forbidden, pods_step
from validator.doctor.step import Diagnosis, Step, bad, good, unseen
from validator.reasons import Reason

_STEPS = {Cloud.AZURE: azure_steps, Cloud.AWS: aws_steps, Cloud.GCP: gcp_steps}


def diagnose(case: Case, cloud: Cloud | None = None) -> Diagnosis:
    """The checklist; without `cloud` it is told from annotations, pods and nodes."""
    account = case.seen.account
    cloud = cloud or cloud_of(case)
    if isinstance(account, Unread):
        return Diagnosis(case.name, cloud, (_unread(case, account),))
    owner = account.owner
    first = good("service account", f"{case.name}" + (f", made by {owner.kind} {owner.name}" if owner else ""))
    steps = (_no_cloud(case),) if cloud is None else tuple(_STEPS[cloud](case))
    kept = tuple(_kept_by_owner(case)) if any(step.name == "annotation" and step.reason for step in steps) else ()
    return Diagnosis(case.name, cloud, (first, *kept, *steps))


def _unread(case: Case, unread: Unread) -> Step:
    if unread.absent:
        show = case.kubectl.run("get", "serviceaccounts", "--namespace", case.name.namespace)
        seen = f"there is no service account {case.name}"
        return bad("service account", Reason.RESOURCE_ABSENT, seen, (show,))
    return forbidden(case, "service account", unread)


def _no_cloud(case: Case) -> Step:
    pods = pods_step(case)
    seen = f"no annotation of any cloud, and nothing says which cloud it is ({pods.name}: {pods.seen})"
    fix = f"# say which: --service-account {case.name} --cloud azure, aws or gcp"
    return bad("annotation", Reason.SERVICE_ACCOUNT_NOT_ANNOTATED, seen, (fix,))


def _kept_by_owner(case: Case) -> Iterator[Step]:
    """Annotations that somebody sets by hand are taken away again by an operator that owns the service account."""
    account = case.seen.account
    if isinstance(account, Unread) or account.owner is None:
        return
    owner = account.owner
    edit = case.kubectl.run("edit", owner.kind.lower(), owner.name, "--namespace", case.name.namespace)
    yield unseen("owner", f"{owner.kind} {owner.name} may take annotations away again: set them there", edit)
