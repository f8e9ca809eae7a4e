"""A diagnosis as the engine's fact: the check `workload-identity`. Pure."""

from __future__ import annotations

from validator.answer import Fact
from validator.doctor.case import Case
from validator.doctor.step import Diagnosis
from validator.model import Check, Outcome
from validator.reasons import REASONS

METHOD = "resource"
"""It was read over the cluster's API (DESIGN, "Federated")."""


def fact_of(diagnosis: Diagnosis, case: Case) -> Fact:
    """The worst finding, with its commands under `fix`; the others are named under `also`."""
    evidence: dict[str, str | int] = {
        "service_account": str(diagnosis.account),
        "method": METHOD,
        "pods": len(case.pods),
    }
    if diagnosis.cloud is not None:
        evidence["cloud"] = diagnosis.cloud.value
    if case.issuer:
        evidence |= {"issuer": case.issuer, "subject": diagnosis.account.subject}
    if not diagnosis.findings:
        message = next((step.seen for step in diagnosis.steps if step.name == "pods" and not case.pods), "")
        return Fact(Check.WORKLOAD_IDENTITY, Outcome.PASS, message=message, evidence=evidence)
    worst, *others = diagnosis.findings
    assert worst.reason is not None
    if worst.fix:
        evidence["fix"] = "; ".join(line for line in worst.fix if not line.startswith("#")) or worst.fix[0]
    if others:
        evidence["also"] = ", ".join(dict.fromkeys(step.reason.value for step in others if step.reason))
    return Fact(Check.WORKLOAD_IDENTITY, worst.outcome, worst.reason, REASONS[worst.reason].stage, worst.seen, evidence)
