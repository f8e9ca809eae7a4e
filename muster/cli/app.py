"""The command line: every command in one table, each in a module of its own.

Modules import what is heavy (rich, pydantic, aiohttp, PostgreSQL) when their command runs, so that `--help` and
completion are instant. Help is plain text, for the same reason.
"""

from __future__ import annotations

import typer

from muster.cli import clusters, history, probe, run, status, version

HELP = """Muster: which of your Kubernetes clusters answer, why not, and since when.

\b
Begin with one of:
  muster demo                  a simulated fleet, to see what it looks like
  muster run                   the service, on your own kubeconfig
  muster status                what it knows, from a second terminal
  muster probe URL             one API server, once, without a service

`muster COMMAND --help` has examples. `muster --install-completion` teaches your shell the commands and the clusters'
names. MUSTER_SERVER says where the service listens, if not at http://127.0.0.1:8645; NO_COLOR switches colours off.
"""

app = typer.Typer(
    name="muster",
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

for function, text, line in (
    (run.run, run.RUN_HELP, "Run the service on your clusters."),
    (run.demo, run.DEMO_HELP, "Run it on a simulated fleet, and watch."),
    (status.status, status.HELP, "The fleet on one screen."),
    (clusters.clusters, clusters.CLUSTERS_HELP, "List clusters, worst first."),
    (clusters.cluster, clusters.CLUSTER_HELP, "All about one cluster, and what to do."),
    (history.history, history.HELP, "What has changed, newest first."),
    (probe.probe, probe.HELP, "Ask one API server once, without a service."),
    (version.version, version.HELP, "Say which release this is."),
):
    app.command(help=text, short_help=line)(function)
