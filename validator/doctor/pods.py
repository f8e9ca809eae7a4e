"""What every cloud's way into a pod has in common: a webhook, variables, a projected token. Pure.

A pod is changed by the webhook when it is created, never later. So variables that are missing mean that the pod is
older than the annotation (or the webhook), unless its age says that it is not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum, auto

from validator.doctor.case import Case
from validator.doctor.facts import Cloud, Pod, TokenMount, Unread
from validator.doctor.step import Step, bad, good, listed, unseen
from validator.model import Outcome
from validator.printable import printable
from validator.reasons import Reason


class Reach(Enum):
    """Whether the webhook gets to see the pods."""

    YES = auto()
    ABSENT = auto()
    LEFT_OUT = auto()
    UNKNOWN = auto()


def reach(case: Case, cloud: Cloud) -> Reach:
    """Read from the webhook configurations and the labels of the namespace."""
    if isinstance(case.cluster.webhooks, Unread):
        return Reach.UNKNOWN
    ours = [webhook for webhook in case.cluster.webhooks if webhook.cloud is cloud]
    if not ours:
        return Reach.ABSENT
    labels = case.seen.namespace_labels
    if isinstance(labels, Unread) or not all(webhook.namespaces.knows for webhook in ours):
        return Reach.UNKNOWN
    return Reach.YES if any(webhook.namespaces.matches(labels) for webhook in ours) else Reach.LEFT_OUT


def webhook_step(case: Case, cloud: Cloud, variable: str, install: Sequence[str]) -> Step:
    """Whether the webhook is there for this namespace; what the pods show counts for more than its configuration."""
    injected = any(pod.has(variable) for pod in case.pods)
    found = case.cluster.webhooks
    match reach(case, cloud):
        case Reach.YES:
            return good("webhook", f"{_names(case, cloud)} sees the pods of {case.name.namespace}")
        case Reach.UNKNOWN if injected:
            return unseen("webhook", f"could not be read, but {variable} is in the pods, so it works")
        case Reach.UNKNOWN:
            unread = found if isinstance(found, Unread) else case.seen.namespace_labels
            if isinstance(unread, Unread) and unread.forbidden:
                return forbidden(case, "webhook", unread)
            return unseen("webhook", unread.message if isinstance(unread, Unread) else "has a selector of a new kind")
        case _ if injected:
            return good("webhook", f"none for this namespace; the pods have {variable} all the same")
        case Reach.ABSENT:
            return bad("webhook", Reason.WEBHOOK_MISSING, "the webhook that injects the identity is absent", install)
        case _:
            seen = f"{_names(case, cloud)} leaves the namespace {case.name.namespace} out"
            show = [
                case.kubectl.run("get", "mutatingwebhookconfiguration", each.configuration, "-o", "yaml")
                for each in (() if isinstance(found, Unread) else found)
                if each.cloud is cloud
            ]
            move = f"# let its namespaceSelector match {case.name.namespace}, or move the pods to another namespace"
            return bad("webhook", Reason.WEBHOOK_MISSING, seen, (*show, move))


def pods_step(case: Case) -> Step:
    """Whether anything runs as the service account."""
    pods = case.seen.pods
    if isinstance(pods, Unread):
        return forbidden(case, "pods", pods) if pods.forbidden else unseen("pods", pods.message)
    if not pods:
        return unseen("pods", "none runs as it, so what pods are given can't be seen")
    more = "" if case.seen.all_pods else " at least; the rest was not read"
    return good("pods", f"{len(pods)}{more}: {names(pods)}")


def injected_step(case: Case, cloud: Cloud, variable: str, annotated_at: float | None) -> Step | None:
    """Whether the webhook has changed the pods. None without pods."""
    late = [pod for pod in case.pods if not pod.has(variable)]
    if not case.pods:
        return None
    if not late:
        return good("environment", f"{variable} is in {'it' if len(case.pods) == 1 else 'all of them'}")
    how = reach(case, cloud)
    missed = [pod for pod in late if annotated_at and pod.created_at and pod.created_at > annotated_at]
    if how is Reach.YES and missed:
        seen = f"{variable} is not in {names(missed)}, though created after the annotation: the webhook failed then"
        pods = _named(case, cloud)
        return bad("environment", Reason.WEBHOOK_MISSING, seen, (*pods, *case.restart(*late)))
    when = {
        Reach.ABSENT: "nothing could inject it; when the webhook is there, restart",
        Reach.LEFT_OUT: "the webhook left it out; when that is mended, restart",
    }.get(how, "started before the annotation")
    return bad("environment", Reason.RESTART_NEEDED, f"{variable} is not in {names(late)}: {when}", case.restart(*late))


def match_step(case: Case, variable: str, expected: str, annotated_at: float | None, title: str) -> Step | None:
    """Whether the pods have the identity that the annotation names now. None where no pod has one."""
    having = [pod for pod in case.pods if pod.values(variable)]
    other = [pod for pod in having if any(value != expected for value in pod.values(variable))]
    if not having:
        return None
    if not other:
        return good(title, f"{variable} in the pods is the annotation's")
    value = printable(next(value for pod in other for value in pod.values(variable) if value != expected))
    seen = f"{variable} in {names(other)} is {value}, the annotation says {printable(expected)}"
    own = [pod for pod in other if annotated_at and pod.created_at and pod.created_at > annotated_at]
    if own:  # the webhook never replaces a variable that the template has
        fix = case.kubectl.unset(case.name.namespace, own, variable)
        return bad(title, Reason.WRONG_IDENTITY, f"{seen}; their pod template sets it", fix)
    return bad(title, Reason.RESTART_NEEDED, seen, case.restart(*other))


def token_step(case: Case, variable: str, audiences: Collection[str], override: Sequence[str] = ()) -> Step | None:
    """Whether the token file that the variable names is a projected token for this cloud. None where no pod has one.

    The path is what the environment says and never a known one: azure-workload-identity moved it in 1.6.0.
    `override`: commands that take an annotation away which sets another audience.
    """
    found: TokenMount | None = None
    for pod in case.pods:
        for path in pod.values(variable):
            found = pod.token_at(path)
            if found is None:
                seen = f"{variable} in {pod.name} is {printable(path)}, where no projected token is mounted"
                fix = case.kubectl.unset(case.name.namespace, [pod], variable)
                return bad("token", Reason.IDENTITY_UNAVAILABLE, seen, (*fix, *case.restart(pod)))
            if found.audience not in audiences:
                return _wrong_audience(case, pod, found, sorted(audiences), override)
            if not found.renewed:
                return _not_renewed(case, pod, found)
    if found is None:
        return None
    life = f"lives {found.lifetime_s // 60} min, renewed by the kubelet"
    return good("token", f"audience {printable(found.audience)}, {life}, at {printable(found.path)}")


def static_step(case: Case, *variables: str) -> Step | None:
    """Keys that SDKs prefer to the workload identity. None where there are none."""
    having = [pod for pod in case.pods if any(map(pod.has, variables))]
    if not having:
        return None
    there = [variable for variable in variables if any(pod.has(variable) for pod in having)]
    seen = f"{', '.join(there)} in {names(having)}: SDKs take it before the workload identity"
    fix = case.kubectl.unset(case.name.namespace, having, *there)
    return bad("static keys", Reason.WRONG_IDENTITY, seen, fix, Outcome.FINDING)


def forbidden(case: Case, title: str, unread: Unread) -> Step:
    """403: the rights that are missing, as commands."""
    fix = case.kubectl.allow(unread.user)
    return bad(title, Reason.RESOURCE_FORBIDDEN, f"not readable: 403 to {unread.call}", fix)


def names(pods: Sequence[Pod]) -> str:
    """A few names, then a number."""
    return listed(pod.name for pod in pods)


def _wrong_audience(case: Case, pod: Pod, found: TokenMount, audiences: Sequence[str], override: Sequence[str]) -> Step:
    seen = f"the token in {pod.name} is for {printable(found.audience) or 'the API server'}, not {audiences[0]}"
    where = f"{pod.owner.kind} {pod.owner.name}" if pod.owner else f"pod {pod.name}"
    template = f"# in the pod template of {where}: audience {audiences[0]} for the token at {printable(found.path)}"
    fix = (*override, *case.restart(pod)) if override else (template,)
    return bad("token", Reason.TOKEN_AUDIENCE_WRONG, seen, fix)


def _not_renewed(case: Case, pod: Pod, found: TokenMount) -> Step:
    """A `subPath` mount of a projected volume is never updated (Kubernetes: "Projected Volumes")."""
    expired = pod.created_at is not None and case.now > pod.created_at + found.lifetime_s
    seen = f"the token in {pod.name} is mounted by subPath, so it is never renewed"
    seen += "; it has expired" if expired else f"; it ends {found.lifetime_s // 60} min after the pod's start"
    where = f"{pod.owner.kind} {pod.owner.name}" if pod.owner else f"pod {pod.name}"
    fix = (f"# in the pod template of {where}: mount the volume's directory, without subPath", *case.restart(pod))
    return bad("token", Reason.TOKEN_EXPIRED, seen, fix, Outcome.FAIL if expired else Outcome.FINDING)


def _names(case: Case, cloud: Cloud) -> str:
    found = case.cluster.webhooks
    return listed(each.name for each in (() if isinstance(found, Unread) else found) if each.cloud is cloud)


def _named(case: Case, cloud: Cloud) -> tuple[str, ...]:
    found = case.cluster.webhooks
    ours = () if isinstance(found, Unread) else tuple(each for each in found if each.cloud is cloud)
    return tuple(case.kubectl.run("describe", "mutatingwebhookconfiguration", each.configuration) for each in ours)
