"""AWS: IAM roles for service accounts (IRSA), and EKS Pod Identity. Pure.

The two ways look alike from within a pod and differ outside: IRSA is an annotation and a trust policy on the issuer,
Pod Identity an association in EKS that nobody in the cluster sees, so that it is judged by the pods alone. Where both
are there, EKS injects only Pod Identity's variables.

Sources: amazon-eks-pod-identity-webhook (README, `main.go`), the EKS guide ("Pod Identity", "IAM roles for service
accounts").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from shlex import join, quote

from validator.doctor import aws, pods
from validator.doctor.case import Case
from validator.doctor.facts import Cloud, Node
from validator.doctor.hosts import host_of
from validator.doctor.issuer import issuer_step
from validator.doctor.spelling import meant, misspelt
from validator.doctor.step import Step, bad, good, unseen
from validator.printable import printable
from validator.reasons import Reason

ROLE_ARN = "eks.amazonaws.com/role-arn"
AUDIENCE = "eks.amazonaws.com/audience"

_AGENTS = ("169.254.170.23", "fd00:ec2::23")
"""Where the EKS Pod Identity agent listens on every node."""

_WEB_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE"
_AGENT_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_AGENT_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"

_EKS_ISSUER = re.compile(r"https://oidc\.eks\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/id/[0-9A-Za-z]+")
_EKS_ARN = re.compile(r"arn:aws[a-z-]*:eks:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):cluster/(?P<name>[\w-]{1,100})")
_EKSCTL = re.compile(r"(?:[^@\s]+@)?(?P<name>[\w-]{1,100})\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.eksctl\.io")


def aws_steps(case: Case) -> Iterator[Step]:
    """The checklist of the way that is taken here."""
    by_agent = [pod for pod in case.pods if pod.has(_AGENT_URI)]
    if by_agent:
        yield from _pod_identity(case)
    else:
        yield from _irsa(case)


# -- IRSA


def _irsa(case: Case) -> Iterator[Step]:
    arn = case.seen.annotations.get(ROLE_ARN)
    since = case.seen.annotated_at(ROLE_ARN)
    yield _annotation(case, arn)
    yield pods.pods_step(case)
    if arn is not None:
        yield pods.webhook_step(case, Cloud.AWS, _WEB_FILE, (*_install(case), *case.restart()))
        if injected := pods.injected_step(case, Cloud.AWS, _WEB_FILE, since):
            yield injected
        if same := pods.match_step(case, "AWS_ROLE_ARN", arn, since, "role"):
            yield same
    override = (case.kubectl.unannotate(case.name, AUDIENCE),) if AUDIENCE in case.seen.annotations else ()
    if token := pods.token_step(case, _WEB_FILE, {aws.STS_AUDIENCE}, override):
        yield token
    if static := pods.static_step(case, "AWS_ACCESS_KEY_ID"):
        yield static
    yield issuer_step(case)
    yield _trust(case, meant(case, ROLE_ARN))


def _annotation(case: Case, arn: str | None) -> Step:
    if arn and (role := aws.role_of(arn)):
        return good("annotation", f"{ROLE_ARN} = {arn} (role {role.name} of account {role.account})")
    fix = (_list_roles(), case.kubectl.annotate(case.name, ROLE_ARN, "ROLE_ARN"), *case.restart())
    if arn is not None:
        seen = f"{ROLE_ARN} is {printable(arn)!r}, which is no ARN of a role"
        return bad("annotation", Reason.IDENTITY_NOT_FOUND, seen, fix)
    if any(pod.has(_WEB_FILE) and pod.has("AWS_ROLE_ARN") for pod in case.pods):
        return good("annotation", "none; the pods carry role and token themselves")
    if wrong := misspelt(case, ROLE_ARN):
        return wrong
    seen = f"{case.name} has no {ROLE_ARN}"
    if _is_eks(case):
        seen += ", and its pods no EKS Pod Identity"
        fix = (*fix, "# or, with EKS Pod Identity instead:", *_associate(case, None))
    return bad("annotation", Reason.SERVICE_ACCOUNT_NOT_ANNOTATED, seen, fix)


def _trust(case: Case, arn: str | None) -> Step:
    """Nobody here can see into IAM; what has to be there can be told to the letter."""
    issuer = case.issuer or "https://ISSUER"
    role = aws.role_of(arn or "")
    account, partition = (role.account, role.partition) if role else ("ACCOUNT", aws.partition_of(eks_of(case).region))
    where = (case.name.namespace, case.name.name)
    policy = aws.trust_policy(issuer, *where, account, partition=partition)
    name = role.name if role else "ROLE"
    fix = (
        "aws iam list-open-id-connect-providers",
        _show_trust(name),
        "# if the issuer is not in the one, or issuer, aud and sub are not in the other (this replaces all of it):",
        aws.create_provider_command(issuer),
        aws.trust_command(name, policy),
    )
    return unseen("trust policy", f"is in IAM; it must trust {issuer} for {case.name.subject}", *fix)


def _install(case: Case) -> tuple[str, ...]:
    if _is_eks(case):
        return ("# EKS brings the webhook; somebody has deleted it: AWS support restores it",)
    clone = "git clone https://github.com/aws/amazon-eks-pod-identity-webhook"
    image = "IMAGE=amazon/amazon-eks-pod-identity-webhook:latest"
    return (clone, f"make -C amazon-eks-pod-identity-webhook cluster-up {image}")


# -- EKS Pod Identity


def _pod_identity(case: Case) -> Iterator[Step]:
    arn = case.seen.annotations.get(ROLE_ARN)
    if arn is not None:
        yield _shadowed(case, arn)
    else:
        yield good("annotation", "EKS Pod Identity needs none: the association is in EKS")
    yield pods.pods_step(case)
    if wrong := _agent(case):
        yield wrong
    late = [pod for pod in case.pods if not pod.has(_AGENT_URI)]
    if late:
        seen = f"{_AGENT_URI} is not in {pods.names(late)}: started before the association"
        yield bad("environment", Reason.RESTART_NEEDED, seen, case.restart(*late))
    else:
        yield good("environment", f"{_AGENT_URI} is in {'it' if len(case.pods) == 1 else 'all of them'}")
    if token := pods.token_step(case, _AGENT_FILE, {aws.POD_IDENTITY_SERVICE}):
        yield token
    if static := pods.static_step(case, "AWS_ACCESS_KEY_ID"):
        yield static
    yield unseen("association", f"is in EKS; it must name {case.name}, and its role trust EKS", *_associate(case, arn))


def _shadowed(case: Case, arn: str) -> Step:
    seen = f"{ROLE_ARN} = {printable(arn)} has no effect: the EKS Pod Identity association comes before it"
    fix = (case.kubectl.unannotate(case.name, ROLE_ARN), *_associate(case, arn)[:1])
    return bad("annotation", Reason.WRONG_IDENTITY, seen, fix)


def _agent(case: Case) -> Step | None:
    for pod in case.pods:
        for url in pod.values(_AGENT_URI):
            if host_of(url) not in _AGENTS:
                seen = f"{_AGENT_URI} in {pod.name} is {printable(url)}, which is not the EKS Pod Identity agent"
                fix = case.kubectl.unset(case.name.namespace, [pod], _AGENT_URI)
                return bad("agent", Reason.WRONG_IDENTITY, seen, fix)
    return None


def _associate(case: Case, arn: str | None) -> tuple[str, ...]:
    """From what is there to what is missing."""
    eks = eks_of(case)
    role = aws.role_of(arn or "")
    where = ("--cluster-name", eks.name, *(("--region", eks.region) if eks.region else ()))
    of = ("--namespace", case.name.namespace, "--service-account", case.name.name)
    name = role.name if role else "ROLE"
    region = f" --region {quote(eks.region)}" if eks.region else ""
    return (
        join(["aws", "eks", "list-pod-identity-associations", *where, *of]),
        _show_trust(name),
        "# whichever of these is not there yet (the trust policy replaces the whole one):",
        join(["aws", "eks", "create-addon", *where, "--addon-name", "eks-pod-identity-agent"]),
        aws.trust_command(name, aws.pod_identity_trust_policy()),
        aws.association_command(eks.name, case.name.namespace, case.name.name, arn or "ROLE_ARN") + region,
        *case.restart(),
    )


# -- names


@dataclass(frozen=True, slots=True)
class Eks:
    """How AWS calls the cluster; words in capitals where it can't be known."""

    name: str
    region: str


def eks_of(case: Case) -> Eks:
    """From the context's name as `aws` and `eksctl` write it, then the nodes' labels, and the issuer's region."""
    if found := _EKS_ARN.fullmatch(case.cluster_name) or _EKSCTL.fullmatch(case.cluster_name):
        return Eks(found["name"], found["region"])
    issuer = _EKS_ISSUER.fullmatch(case.issuer or "")
    region = issuer["region"] if issuer else case.node_label("topology.kubernetes.io/region") or ""
    return Eks(case.node_label("alpha.eksctl.io/cluster-name") or "EKS_CLUSTER", region)


def _is_eks(case: Case) -> bool:
    return _EKS_ISSUER.fullmatch(case.issuer or "") is not None or any(map(_eks_node, case.nodes))


def _eks_node(node: Node) -> bool:
    return any(key.startswith("eks.amazonaws.com/") for key in node.labels)


def _show_trust(role: str) -> str:
    return join(["aws", "iam", "get-role", "--role-name", role, "--query", "Role.AssumeRolePolicyDocument"])


def _list_roles() -> str:
    return join(["aws", "iam", "list-roles", "--query", "Roles[].Arn", "--output", "table"])
