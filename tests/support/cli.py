"""The command line in this process, and a hub that it can ask."""

from __future__ import annotations

import sys
from functools import cache

import typer.testing
from typer.main import get_command
from typer.testing import CliRunner, Result

from muster.cli.app import app
from tests.support.hub import GOOD, MadeUpHub
from validator.model import Check, Evidence
from validator.reasons import Reason

typer.testing._get_command = cache(get_command)  # type: ignore[attr-defined]  # its own name for it
"""Typer's runner makes all commands anew for each line, which takes 50 ms."""

MUSTER = [sys.executable, "-m", "muster"]
"""As a process of its own."""


def muster(*arguments: str, server: str = "", **variables: str) -> Result:
    """Run one command line; `server` is what MUSTER_SERVER says."""
    env: dict[str, str | None] = {"MUSTER_SERVER": server, "NO_COLOR": None, "COLUMNS": None, **variables}
    return CliRunner().invoke(app, list(arguments), env=env)


def made_up() -> MadeUpHub:
    """One healthy cluster."""
    hub = MadeUpHub()
    hub.put("prod-eu-1", hub.answer(evidence=GOOD), hub.answer(check=Check.CREDENTIAL), labels={"team": "storage"})
    return hub


def break_one(hub: MadeUpHub, name: str = "prod-eu-2") -> None:
    """Add one that does not answer."""
    evidence: Evidence = {"connect_ms": 5000.4, "address": "10.0.0.2"}
    hub.put(name, hub.answer(Reason.CONNECT_TIMEOUT, message="10.0.0.2:6443: no answer", evidence=evidence))
