"""A credential from an exec plugin (`aws eks get-token`, `kubelogin`, `gke-gcloud-auth-plugin`, …)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from validator.credential_sources.plugin_process import OutputTooLargeError, PluginOutput, run_plugin
from validator.credential_sources.plugin_protocol import environment, parse_answer
from validator.credential_sources.spec import ExecSpec, same_or, unavailable
from validator.credentials import Credential, CredentialError
from validator.printable import printable

PLUGIN_SLOTS = 8
"""Plugins at once, over all sources: each is a process of some 50-100 MB (Python, Node) for a second or two."""
DEADLINE_S = 15.0
"""Of one fetch, its wait for a slot included. Cloud CLIs take 1-3 s, a token endpoint that is slow some 10 s."""
RENEW_BEFORE_S = 60.0
"""How long before its end a credential is fetched anew; half its life, if it lives under two minutes."""
REMEMBERED_S = 10.0
"""A failure stands this long: a broken plugin is not hammered."""


class _PluginError(Exception):
    """One run failed; the text is for people and holds no secret."""


class ExecCredential:
    """Runs the plugin when there is nothing in hand, shortly before the credential ends, and after a 401.

    `slots` is for plugins only: a hanging one delays other plugins, never a probe.
    """

    def __init__(
        self,
        owner: str,
        spec: ExecSpec,
        environ: Mapping[str, str],
        slots: asyncio.Semaphore,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._subject = f"exec plugin `{printable(spec.command)}` of {owner}"
        self._spec = spec
        self._environ = environ
        self._slots = slots
        self._deadline_s = deadline_s
        self._single_flight = asyncio.Lock()
        self._held: Credential | None = None
        self._renew_at = float("inf")
        self._fetches = 0
        self._failure: CredentialError | None = None
        self._failed_at = float("-inf")

    def current(self, now: float) -> Credential | None:
        return self._held if now < self._renew_at else None

    async def fetch(self, now: float) -> Credential:
        started = asyncio.get_running_loop().time()
        fetches_before = self._fetches
        stage = "got no free plugin slot"
        try:
            async with asyncio.timeout(self._deadline_s), self._single_flight:
                # Whoever waited for the failing run asked before it failed.
                if self._failure is not None and -self._deadline_s <= now - self._failed_at < REMEMBERED_S:
                    raise self._failure
                if self._held is not None and self._fetches > fetches_before:
                    return self._held  # the run of someone who waited with us
                async with self._slots:
                    stage = "has not ended"
                    fresh = await self._run(now)
        except (TimeoutError, _PluginError) as error:
            slow = isinstance(error, TimeoutError)
            text = f"{stage} within {self._deadline_s:g} s and was given up" if slow else str(error)
            self._failure = unavailable(self._subject, text)
            self._failed_at = now + asyncio.get_running_loop().time() - started
            self._held = None
            raise self._failure from error
        self._failure = None
        self._fetches += 1
        self._held = same_or(fresh, self._held)
        self._renew_at = _renew_at(fresh.expires_at, now)
        return self._held

    def reject(self, credential: Credential) -> None:
        if credential == self._held:  # a late 401 to the former one says nothing about this one
            self._held = None

    async def _run(self, now: float) -> Credential:
        try:
            output = await run_plugin((self._spec.command, *self._spec.args), environment(self._spec, self._environ))
        except FileNotFoundError as error:
            hint = printable(self._spec.install_hint, 300)
            raise _PluginError(f"not found on the hub; {hint or 'install it, or give its full path'}") from error
        except (OSError, ValueError) as error:
            raise _PluginError(f"can't be started: {getattr(error, 'strerror', None) or 'bad argument'}") from error
        except OutputTooLargeError as error:
            raise _PluginError("printed more than a credential can be, and was killed") from error
        if output.exit_code != 0:
            raise _PluginError(_exit_text(output))
        try:
            fresh = parse_answer(self._spec, output.stdout)
        except ValueError as error:
            raise _PluginError(str(error)) from error
        if fresh.expires_at is not None and fresh.expires_at <= now:
            raise _PluginError("it gave a credential that has expired already; check its cache and the hub's clock")
        return fresh


def _exit_text(output: PluginOutput) -> str:
    code = output.exit_code
    how = f"exit {code}" if code > 0 else f"killed by signal {-code}"
    return f"{how}: {output.stderr}" if output.stderr else f"{how}, and nothing on stderr"


def _renew_at(expires_at: float | None, now: float) -> float:
    if expires_at is None:
        return float("inf")
    return max(expires_at - RENEW_BEFORE_S, (now + expires_at) / 2)
