"""Runs a test on uvloop, which the service has, and on asyncio's own loop, which an agent may have.

The two differ exactly where probes live: the order of TLS events, what a reset looks like, how a clock is rounded.
A plugin: `@on_both_loops` before an async test (or a class of them); all others run on asyncio's loop alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

_LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

on_both_loops = pytest.mark.asyncio(loop_factories=list(_LOOPS))


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """pytest-asyncio's hook."""
    marker = item.get_closest_marker("asyncio")
    if marker is not None and "loop_factories" in marker.kwargs:
        return _LOOPS
    return {"asyncio": _LOOPS["asyncio"]}
