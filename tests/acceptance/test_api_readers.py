"""Many who open `/api/v1/events` and do not read: bounded memory, a loop in time, and nobody else held up."""

from __future__ import annotations

import http.client
import resource
import socket
import time
from contextlib import ExitStack, closing
from urllib.parse import urlsplit

import psutil
import pytest

from muster.api.stream import FAREWELL_TIMEOUT_S, WRITE_TIMEOUT_S
from tests.support.need import need
from tests.support.runtime import local_bearer
from tests.support.service import Service, running_service, simulated, until

CLUSTERS = 300
"""All change at once, in some 600 bytes each: more than the kernel keeps for a reader."""

OTHERS = 10
"""Connections of those who do read."""

BYTES_A_READER = 80_000
"""Of ours: what `MAX_STREAMS` says, and some air. The kernel's are not in the resident set."""


def deaf(service: Service) -> socket.socket:
    """A reader who reads nothing."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(5)
    parts = urlsplit(service.url)
    reader.connect((parts.hostname, parts.port))
    auth = local_bearer(service.url)["Authorization"]
    reader.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {auth}\r\n\r\n".encode())
    return reader


def taken(service: Service) -> int:
    """Connections that the API has accepted and not let go of. Not all descriptors: those of the probes come and go."""
    port = urlsplit(service.url).port
    return sum(
        c.laddr.port == port and c.status == psutil.CONN_ESTABLISHED
        for c in psutil.Process(service.pid).net_connections("tcp")
    )


def took_s(service: Service) -> float:
    """How long somebody else waits for the fleet."""
    started = time.monotonic()
    service.fleet()
    return time.monotonic() - started


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("readers", [300, pytest.param(1000, marks=pytest.mark.soak)])
def test_those_who_do_not_read_cost_a_bounded_share_and_are_dropped(readers: int) -> None:
    """A thousand without a service around them: `test_api_events`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need(hard >= 8 * readers, f"{8 * readers} file descriptors (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * readers), hard))
    with simulated((CLUSTERS, "healthy")) as fleet, running_service("--static", fleet.source) as service:
        until(lambda: service.fleet()["counts"]["Healthy"] == CLUSTERS, 40, "the fleet is known")
        process = psutil.Process(service.pid)
        rss = process.memory_info().rss
        with ExitStack() as stack:
            for _ in range(readers):
                stack.enter_context(deaf(service))
            until(lambda: taken(service) >= readers, 60, "all are taken")
            honest = stack.enter_context(closing(http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=10)))
            honest.request("GET", "/api/v1/events?types=transition", headers=local_bearer(service.url))
            hears = honest.getresponse()
            for name in fleet.clusters:
                fleet.set(name, "refuse")
            heard, waited_s, grown = 0, [], 0
            while heard < CLUSTERS:
                heard += b'"to_health":"Unreachable"' in _line(hears)
                if heard % 20 == 0:
                    waited_s.append(took_s(service))
                    grown = max(grown, process.memory_info().rss - rss)
            within_s = WRITE_TIMEOUT_S + FAREWELL_TIMEOUT_S + 15
            while taken(service) > OTHERS and within_s > 0:
                waited_s.append(took_s(service))
                grown = max(grown, process.memory_info().rss - rss)
                time.sleep(0.2)
                within_s -= 0.2
            assert taken(service) <= OTHERS, "those who do not read are dropped"
            assert grown < readers * BYTES_A_READER, f"{grown / readers:.0f} bytes a reader"
            assert sorted(waited_s)[len(waited_s) // 2] < 0.3, waited_s
            assert max(waited_s) < 3.0, waited_s
        assert service.fleet()["counts"]["Unreachable"] == CLUSTERS
        assert service.fleet()["store"]["degraded_since"] is None
        assert [line for line in service.log.splitlines() if '"level": "error"' in line] == []


def _line(hears: http.client.HTTPResponse) -> bytes:
    line = hears.readline()
    assert line, "the stream has ended"
    return line
