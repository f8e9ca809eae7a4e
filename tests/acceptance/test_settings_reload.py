"""A running service takes up what can change, names what can't, and does not stumble over a broken file."""

from __future__ import annotations

import http.client
import signal
from urllib.parse import urlsplit

from tests.support.service import Service, own_directory, running_service, until


def status_for_host(service: Service, host: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=5)
    try:
        connection.request("GET", "/healthz", headers={"Host": host})
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_settings_file_is_taken_up_while_the_service_runs() -> None:
    with own_directory() as own:
        (own / "fleet.yaml").write_text("clusters: []\n")
        file = own / "muster.toml"
        file.write_text('static = ["fleet.yaml"]\n')
        with running_service("--config", file) as service:
            assert status_for_host(service, "muster.example.com") == 421
            file.write_text(
                'static = ["fleet.yaml"]\nlog_level = "debug"\nhosts = ["muster.example.com"]\nread_every = 2\n'
            )
            until(lambda: service.events("a changed setting needs a restart"), 10, "the change is taken up")
            (waiting,) = service.events("a changed setting needs a restart")
            assert waiting["setting"] == "read_every"
            assert service.events("settings reloaded")[0]["changed"] == ["hosts", "log_level"]
            assert status_for_host(service, "muster.example.com") == 200
            file.write_text("nonsense\n")
            service.send(signal.SIGHUP)
            until(lambda: service.events("the new settings make no sense; the old ones stay"), 10, "it is told")
            assert status_for_host(service, "muster.example.com") == 200
