"""The event stream of the real service: changes are heard, a signal ends it in time, a restart goes on where it was."""

from __future__ import annotations

import http.client
import json
import signal
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from tests.support.runtime import local_bearer
from tests.support.service import GONE_S, Json, Service, own_directory, running_service, simulated, until

PATH = "/api/v1/events"


class Ear:
    """One listener."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def events(self) -> Iterator[tuple[str, Json]]:
        """Name and data of each, until the end."""
        name = ""
        for raw in self._response:
            line = raw.decode().rstrip("\n")
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))

    def first(self, wanted: str) -> Json:
        """The next event of this name."""
        return next(data for name, data in self.events() if name == wanted)


@contextmanager
def listening(service: Service, after: int | None = None) -> Iterator[Ear]:
    with closing(http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=20)) as connection:
        resume = {} if after is None else {"Last-Event-ID": str(after)}
        connection.request("GET", PATH, headers={**local_bearer(service.url), **resume})
        response = connection.getresponse()
        assert response.status == 200
        yield Ear(response)


def test_changes_are_heard_and_a_restart_loses_none() -> None:
    with simulated((3, "healthy")) as fleet, own_directory() as data_dir:
        name = next(iter(fleet.clusters))
        with running_service("--static", fleet.source, data_dir=data_dir) as service:
            until(lambda: len(service.history()) == 6, 15, "all are healthy, with their credentials")
            with listening(service) as ear, listening(service) as deaf, socket.socket() as mute:
                assert ear.first("hello")["resumed"] is False
                fleet.set(name, "refuse")
                heard: Json = {}
                counts: Json = {}
                for event, data in ear.events():  # the picture does not wait for the commit
                    heard = data if event == "transition" else heard
                    counts = data["counts"] if event == "fleet" else counts
                    if heard and counts["Healthy"] == 2:
                        break
                assert (heard["cluster_name"], heard["from_health"]) == (name, "Healthy")
                assert heard["id"] == service.history()[-1]["id"]
                parts = urlsplit(service.url)
                mute.connect((parts.hostname, parts.port))
                head = {**local_bearer(service.url), "Host": parts.netloc}
                lines = "\r\n".join(f"{key}: {value}" for key, value in head.items())
                mute.sendall(f"GET {PATH} HTTP/1.1\r\n{lines}\r\n\r\n".encode())
                assert service.stop(signal.SIGTERM) < GONE_S
                assert [name for name, _ in ear.events()][-1] == "bye"
                assert [name for name, _ in deaf.events()][-1] == "bye"

        fleet.set(name, "healthy")
        with running_service("--static", fleet.source, data_dir=data_dir) as service:
            until(lambda: len(service.history()) == 8, 15, "all are healthy again")
            with listening(service, after=0) as ear:
                assert ear.first("hello")["resumed"] is True
                everything = service.history()
                assert [ear.first("transition")["id"] for _ in everything] == [one["id"] for one in everything]
            with listening(service, after=heard["id"]) as ear:
                assert ear.first("transition")["to_health"] == "Healthy"
