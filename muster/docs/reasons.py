"""The page of reasons, from their table."""

from __future__ import annotations

from validator.reasons import PRECEDENCE, REASONS, Health, Reason, ReasonInfo, Stage

PAGE = "docs/reasons.md"
"""Where the page of reasons lies in the repository."""

_STAGES: dict[Stage, str] = {
    Stage.DNS: "The API server's name is looked up.",
    Stage.CONNECT: "A TCP connection is opened, through a proxy where the kubeconfig names one.",
    Stage.TLS: "The TLS handshake, with the cluster's own CA.",
    Stage.HTTP: "The API server is asked for `/readyz` (or `/livez`, `/healthz`, `/version`).",
    Stage.READ: "One namespace is read, since `/readyz` alone can be green while etcd is frozen.",
    Stage.CREDENTIAL: "What the hub shows to be let in. A 401 or 403 means that the cluster is *reachable*.",
    Stage.IDENTITY: "A pod's service account becomes an identity of the cloud: annotation, injected token, the cloud's "
    "own token for it. Nothing is said of the storage yet.",
    Stage.STORAGE: "The provider's storage is asked, with that identity, from the cluster named beside it.",
    Stage.RESOURCE: "A resource of Velero or Stork is read over the cluster's API.",
    Stage.AGENT: "The agent in the cluster, which asks in the hub's place.",
    Stage.HUB: "The hub itself. These say nothing about the cluster.",
    Stage.SOURCE: "What the source of the cluster, or the inventory, says.",
}
"""In the order in which a question passes them."""

_HEALTHS: dict[Health, str] = {
    Health.SUSPENDED: "Not judged on purpose (hibernated, being created, in maintenance, paused). Never alerts.",
    Health.UNREACHABLE: "No answer: nothing is known of what is behind.",
    Health.UNHEALTHY: "It answers, and what it answers is bad.",
    Health.UNKNOWN: "Not checked yet, or the last fact is older than its allowance.",
    Health.DEGRADED: "It works, but something needs attention.",
    Health.HEALTHY: "All is well.",
}


def reason_link(reason: Reason) -> str:
    """Where the page explains a reason."""
    return f"{PAGE}#{reason.value.lower()}"


def reasons_page() -> str:
    """The whole page of reasons, from their table."""
    lines = [
        "# Why a cluster or a location is not healthy, and what to do",
        "",
        "<!-- Written by `make docs` from validator/reason_rows/. Edit those. -->",
        "",
        "Every state that is not healthy has one reason from this table. `{cluster}` and `{endpoint}` in a remedy",
        "are filled in where it is shown; for a location, `{endpoint}` is its URL and `{cluster}` the cluster from",
        "which it was asked about. *Passes by itself* says whether waiting may mend it; otherwise a person has to act.",
        "Where the exact command is known, the evidence has it under `fix`.",
        "",
        "## Healths, worst first",
        "",
        "A subject's health is the worst of its checks'.",
        "",
        "| Health | Means |",
        "|---|---|",
        *(f"| {health} | {_HEALTHS[health]} |" for health in PRECEDENCE),
    ]
    for stage, question in _STAGES.items():
        rows = [_row(reason, info) for reason, info in REASONS.items() if info.stage is stage]
        head = ["| Reason | Health | Passes by itself | Means | What to do |", "|---|---|---|---|---|"]
        lines += ["", f"## Stage `{stage}`", "", question, "", *head, *rows]
    return "\n".join(lines) + "\n"


def _row(reason: Reason, info: ReasonInfo) -> str:
    name = f'<a id="{reason.value.lower()}"></a>**{reason}**'
    cells = (name, info.health, "yes" if info.transient else "no", info.means, info.remedy)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
