"""Commands for kubectl and helm on one cluster. Pure; names are quoted for a shell, because others have chosen them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from validator.doctor.facts import AccountName, Owner, Pod

_RESTARTED = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl as one has to call it for this cluster."""

    context: str | None = None
    kubeconfig: str | None = None

    def run(self, *words: str) -> str:
        """One command line."""
        where = [*self._option("--kubeconfig", self.kubeconfig), *self._option("--context", self.context)]
        return shlex.join(["kubectl", *where, *words])

    def helm(self, *words: str) -> str:
        """The same for helm."""
        where = [*self._option("--kubeconfig", self.kubeconfig), *self._option("--kube-context", self.context)]
        return shlex.join(["helm", *where, *words])

    def annotate(self, account: AccountName, key: str, value: str) -> str:
        """Set an annotation of a service account."""
        where = ("--namespace", account.namespace, "--overwrite")
        return self.run("annotate", "serviceaccount", account.name, *where, f"{key}={value}")

    def unannotate(self, account: AccountName, key: str) -> str:
        """Take one away."""
        return self.run("annotate", "serviceaccount", account.name, "--namespace", account.namespace, f"{key}-")

    def restart(self, namespace: str, pods: Iterable[Pod]) -> tuple[str, ...]:
        """Have the pods made anew, each owner once."""
        return tuple(dict.fromkeys(self._restart(namespace, pod) for pod in pods))

    def label_template(self, namespace: str, pods: Iterable[Pod], key: str, value: str) -> tuple[str, ...]:
        """Set a label in the pod template of each owner; that restarts the pods as well."""
        return tuple(dict.fromkeys(self._label(namespace, pod, key, value) for pod in pods))

    def unset(self, namespace: str, pods: Iterable[Pod], *variables: str) -> tuple[str, ...]:
        """Take variables out of the pod template of each owner."""
        return tuple(
            dict.fromkeys(
                self.run(
                    "set", "env", _resource(pod.owner), "--namespace", namespace, *(f"{one}-" for one in variables)
                )
                if pod.owner and pod.owner.kind in _RESTARTED
                else f"# take {', '.join(variables)} out of {_where_from(pod)}"
                for pod in pods
            )
        )

    def allow(self, user: str) -> tuple[str, ...]:
        """Give a user the right to read what the doctor reads."""
        made = self.run("create", "clusterrole", "muster-doctor", "--verb=get,list", f"--resource={_RESOURCES}")
        bound = ("create", "clusterrolebinding", "muster-doctor", "--clusterrole=muster-doctor")
        return made, self.run(*bound, f"--user={user or 'USER'}")

    def _restart(self, namespace: str, pod: Pod) -> str:
        where = ("--namespace", namespace)
        if pod.owner and pod.owner.kind in _RESTARTED:
            return self.run("rollout", "restart", _resource(pod.owner), *where)
        if pod.owner and pod.owner.kind in {"Job", "CronJob"}:
            return f"# the next run of {pod.owner.kind} {shlex.quote(pod.owner.name)} has it"
        if pod.owner:
            return self.run("delete", "pod", pod.name, *where)
        return f"{self.run('get', 'pod', pod.name, *where, '-o', 'yaml')} | {self.run('replace', '--force', '-f', '-')}"

    def _label(self, namespace: str, pod: Pod, key: str, value: str) -> str:
        template: dict[str, Any] = {"spec": {"template": {"metadata": {"labels": {key: value}}}}}
        if pod.owner and pod.owner.kind in _RESTARTED:
            patch = json.dumps(template, separators=(",", ":"))
            what = ("patch", _resource(pod.owner), "--namespace", namespace, "--type=merge")
            return self.run(*what, f"--patch={patch}")
        return f"# add the label {key}: {json.dumps(value)} to {_where_from(pod)}"

    @staticmethod
    def _option(name: str, value: str | None) -> Iterator[str]:
        if value is not None:
            yield from (name, value)


_RESOURCES = "serviceaccounts,pods,nodes,namespaces,mutatingwebhookconfigurations.admissionregistration.k8s.io"
"""What the doctor reads. The issuer needs no rule here: every service account may read it, and so may admins."""


def _resource(owner: Owner) -> str:
    return f"{owner.kind.lower()}/{owner.name}"


def _where_from(pod: Pod) -> str:
    if pod.owner is None:
        return f"the pod {shlex.quote(pod.name)} (delete it and create it anew)"
    return f"the pod template of {pod.owner.kind} {shlex.quote(pod.owner.name)}"
