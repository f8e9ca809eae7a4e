"""Reasons about whoever asks (the hub, the agent), and about the source that names a cluster."""

from __future__ import annotations

from validator.words import Health, Reason, ReasonInfo, Stage

_DUNNO, _WARN, _OFF = Health.UNKNOWN, Health.DEGRADED, Health.SUSPENDED

ASKER_ROWS: dict[Reason, ReasonInfo] = {
    Reason.NOT_CHECKED_YET: ReasonInfo(
        Stage.HUB,
        _DUNNO,
        True,
        "The first check has not come back yet.",
        "Wait one interval.",
    ),
    Reason.STALE: ReasonInfo(
        Stage.HUB,
        _DUNNO,
        True,
        "The last fact is older than its allowance; what is shown is the last known state.",
        "See whether the hub is overloaded (`muster status`, lateness) or the reporting agent is gone.",
    ),
    Reason.HUB_OUT_OF_DESCRIPTORS: ReasonInfo(
        Stage.HUB,
        _DUNNO,
        True,
        "The hub has no file descriptor or local port left to ask with; this says nothing about the cluster.",
        "Raise the hub's limit (`ulimit -n`, systemd LimitNOFILE) to at least twice the number of clusters.",
    ),
    Reason.PROBE_DEFECT: ReasonInfo(
        Stage.HUB,
        _DUNNO,
        False,
        "The probe itself failed in a way that its authors did not foresee; this says nothing about the cluster.",
        "Report it with the hub's log line of the same time; it names the place.",
    ),
    Reason.NO_ASKER: ReasonInfo(
        Stage.HUB,
        _DUNNO,
        False,
        "Nobody asks about this location from this cluster: it has no agent, Velero and Stork there don't know the "
        "location, and the hub may not ask with its own identity.",
        "Install the agent on {cluster}, the only one that asks with the cluster's own identity. Or give Velero or "
        "Stork there a resource for {endpoint}, which the hub reads. Where the location is your own, name its owner in "
        "`direct_owners`.",
    ),
    Reason.VALIDATION_TIMEOUT: ReasonInfo(
        Stage.HUB,
        _DUNNO,
        True,
        "A validation job was left too long: it had no turn, the agent did not come for it, or no answer came. It says "
        "nothing about the location.",
        "See how {cluster} and its agent are (`muster cluster {cluster}`), then validate again.",
    ),
    Reason.IDENTITY_CONFLICT: ReasonInfo(
        Stage.SOURCE,
        _WARN,
        False,
        "Two clusters with different CAs claim one kube-system UID: a restored copy, or one posing as the other.",
        "Find out which of the two is the original; the evidence names the other one.",
    ),
    Reason.CREATING: ReasonInfo(
        Stage.SOURCE,
        _OFF,
        True,
        "The cluster is being created.",
        "Nothing; it is judged once it is up.",
    ),
    Reason.HIBERNATED: ReasonInfo(
        Stage.SOURCE,
        _OFF,
        True,
        "The cluster is hibernated: its control plane is switched off on purpose.",
        "Nothing; wake it to be judged again.",
    ),
    Reason.WAKING: ReasonInfo(Stage.SOURCE, _OFF, True, "The cluster is waking up.", "Nothing; wait for it."),
    Reason.MAINTENANCE: ReasonInfo(
        Stage.SOURCE,
        _OFF,
        True,
        "The cluster is in its maintenance window and being reconciled.",
        "Nothing; it is judged again after the window.",
    ),
    Reason.MIGRATING: ReasonInfo(
        Stage.SOURCE,
        _OFF,
        True,
        "The control plane is moving to another seed.",
        "Nothing; it is judged again afterwards.",
    ),
    Reason.DELETING: ReasonInfo(
        Stage.SOURCE,
        _OFF,
        True,
        "The cluster is being deleted.",
        "Nothing; it leaves the fleet when it is gone.",
    ),
    Reason.PAUSED: ReasonInfo(
        Stage.SOURCE,
        _OFF,
        True,
        "A person paused it.",
        "Resume it when the work is done.",
    ),
    Reason.AGENT_SILENT: ReasonInfo(
        Stage.AGENT,
        _DUNNO,
        True,
        "The agent in the cluster has not reported for longer than its allowance; what it saw last is shown.",
        "On {cluster}: `kubectl get pods -A -l app.kubernetes.io/name=muster-agent` and the agent's log. Check that it "
        "may reach the hub (egress, proxy) and that its service-account token is accepted.",
    ),
    Reason.AGENT_DROPS: ReasonInfo(
        Stage.AGENT,
        _WARN,
        True,
        "The agent could not deliver all that it saw: its memory for reports is bounded, and the oldest were dropped.",
        "It was cut off from the hub, or the hub was away for longer than that lasts; the newest facts are there. If "
        "it goes on, look at the agent's log and at the hub's own load.",
    ),
}
