"""`muster run` and `muster demo`: options in, the composition root does the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muster.cli.config import ConfigOption, refuse
from muster.cli.exits import Exit, fail

RUN_HELP = """Run the service: find clusters, ask them for ever, keep what is known, answer `muster status`.

Without a source it reads what kubectl reads ($KUBECONFIG, else ~/.kube/config). Without MUSTER_DATABASE_URL it starts
a private PostgreSQL in its data directory. A second instance on one database waits as a hot standby.

Every option is also a variable (MUSTER_INTERVAL_S, MUSTER_LISTEN and so on) and a line in the settings file: see
`muster config`. The database's URL has no option, since those are seen by everybody on the machine. SIGHUP, or a change
of the file, reloads what can change meanwhile. Ctrl-C or SIGTERM ends it within five seconds.

\b
Examples:
  muster run                                        your own kubeconfig
  muster run --kubeconfig a.yaml --kubeconfig b.yaml --context prod
  muster run --static clusters.yaml --interval 60
  muster run --config muster.toml
  muster run --listen 10.0.0.5:8645 --tls-certificate a.crt --tls-key a.key --host muster.example
  MUSTER_DATABASE_URL=postgresql://muster:…@db/muster muster run --in-cluster
"""

DEMO_HELP = """Run the service on a simulated fleet, and watch it: real TLS servers on 127.x.y.z, some of them broken.

Some clusters are black-holed, hang, answer slowly, show expired certificates, reject credentials or flap; it changes
over time, the same way for the same seed. A receiver for telemetry runs beside it, and telemetry is off; below the
picture is how to try it. Ctrl-C ends it and leaves nothing behind.

\b
Examples:
  muster demo
  muster demo --clusters 1000 --dead 0.5 --seed 3
  muster status                                     in a second terminal
"""


def run(
    config: ConfigOption = None,
    kubeconfig: Annotated[
        list[Path] | None, typer.Option("--kubeconfig", metavar="FILE", help="Kubeconfig to watch (repeat for more).")
    ] = None,
    context: Annotated[
        list[str] | None, typer.Option("--context", metavar="NAME", help="Only these contexts (repeat for more).")
    ] = None,
    static: Annotated[
        list[Path] | None, typer.Option("--static", metavar="FILE", help="YAML list of clusters (repeat for more).")
    ] = None,
    in_cluster: Annotated[
        bool | None, typer.Option("--in-cluster", help="Watch the cluster in which this runs.")
    ] = None,
    interval: Annotated[
        float | None, typer.Option("--interval", metavar="SECONDS", help="Between two questions.  [30]")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="For one question; below the interval.  [10]")
    ] = None,
    backoff_max: Annotated[
        float | None, typer.Option("--backoff-max", metavar="SECONDS", help="Longest pause for the long dead.  [300]")
    ] = None,
    read_every: Annotated[
        int | None, typer.Option("--read-every", metavar="N", help="Read a namespace every N questions.  [4]")
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option("--reference", metavar="ADDRESS:PORT", help="What always answers: tells an outage of the hub."),
    ] = None,
    listen: Annotated[
        str | None, typer.Option("--listen", metavar="HOST:PORT", help="Where the API listens.  [127.0.0.1:8645]")
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME", help="Name by which the API may be called (repeat for more)."),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", metavar="FILE", help="PEM: the API's certificate and chain.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="PEM: its key.")] = None,
    behind_proxy: Annotated[
        bool | None, typer.Option("--behind-proxy", help="A proxy before the API ends TLS; nobody else reaches it.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Where the embedded database lives.")
    ] = None,
    retention_days: Annotated[
        int | None, typer.Option("--retention-days", metavar="DAYS", help="How long history is kept.  [90]")
    ] = None,
    otlp_endpoint: Annotated[
        str | None, typer.Option("--otlp-endpoint", metavar="URL", help="Send metrics to your own collector too.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [info]")
    ] = None,
    log_format: Annotated[
        str | None, typer.Option("--log-format", metavar="FORMAT", help="json or console.  [json]")
    ] = None,
) -> None:
    """See `RUN_HELP`."""
    from muster.settings import Loading, SettingsError  # noqa: PLC0415 - not for `--help`

    flags = {
        "kubeconfig": kubeconfig,
        "contexts": context,
        "static": static,
        "in_cluster": in_cluster,
        "interval_s": interval,
        "timeout_s": timeout,
        "backoff_max_s": backoff_max,
        "read_every": read_every,
        "reference_targets": reference,
        "listen": listen,
        "hosts": host,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "behind_proxy": behind_proxy,
        "data_dir": data_dir,
        "retention_days": retention_days,
        "otlp_endpoint": otlp_endpoint,
        "log_level": log_level,
        "log_format": log_format,
    }
    loading = Loading(config, flags)
    try:
        loaded = loading.load()
    except SettingsError as error:
        refuse(error)

    import structlog  # noqa: PLC0415 - the service's own imports are heavy

    from muster.app import serve  # noqa: PLC0415
    from muster.config.shown import summary  # noqa: PLC0415
    from muster.logs import configure_logs  # noqa: PLC0415

    configure_logs(loaded.settings.log_level, loaded.settings.log_format)
    structlog.get_logger(__name__).info("settings", origin=summary(loaded))
    raise typer.Exit(serve(loaded.settings, loading))


def demo(
    clusters: Annotated[int, typer.Option("--clusters", min=1, max=10_000, help="How many.")] = 200,
    dead: Annotated[float, typer.Option("--dead", min=0.0, max=1.0, help="Which share of them is dead.")] = 0.3,
    seed: Annotated[int, typer.Option("--seed", help="The same seed, the same story.")] = 7,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Loopback address of the API.")
    ] = "127.0.0.1:8645",
) -> None:
    """See `DEMO_HELP`."""
    from muster.config.values import loopback  # noqa: PLC0415 - not for `--help`

    try:
        listen = loopback(listen)
    except ValueError as error:
        fail(Exit.USAGE, f"--listen: {error}")

    from muster.demo.main import run_demo  # noqa: PLC0415

    raise typer.Exit(run_demo(clusters, dead, seed, listen))
