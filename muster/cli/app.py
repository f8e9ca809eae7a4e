"""The command line: every command in one table, each in a module of its own.

Modules import what is heavy (rich, pydantic, aiohttp, PostgreSQL) when their command runs, so that `--help` and
completion are instant. Help is plain text, for the same reason.
"""

from __future__ import annotations

import typer

from muster.cli import (
    agent,
    audit,
    availability,
    clusters,
    config,
    db,
    doctor,
    events,
    history,
    locations,
    log_level,
    login,
    matrix,
    pause,
    probe,
    receiver,
    run,
    status,
    support,
    telemetry,
    token,
    validate,
    version,
)
from muster.cli.sections import Sections

HELP = """Muster: which of your Kubernetes clusters answer, why not, and since when.

\b
Begin with one of:
  muster demo                  a simulated fleet, to see what it looks like
  muster run                   the service, on your own kubeconfig
  muster status                what it knows, from a second terminal
  muster probe URL             one API server, once, without a service

`muster COMMAND --help` has examples. `muster --install-completion` teaches your shell the commands and the clusters'
names. MUSTER_SERVER says where the service listens, if not at http://127.0.0.1:8645, and MUSTER_TOKEN_FILE has the
token for it, which on the service's own machine its own user does not need. NO_COLOR switches colours off.
"""

app = typer.Typer(
    name="muster",
    cls=Sections,
    help=HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

for function, text, line in (
    (run.run, run.RUN_HELP, "Run the service on your clusters."),
    (run.demo, run.DEMO_HELP, "Run it on a simulated fleet, and watch."),
    (agent.agent, agent.HELP, "Run the agent in a tenant's cluster."),
    (status.status, status.HELP, "The fleet on one screen."),
    (clusters.cluster, clusters.CLUSTER_HELP, "All about one cluster, and what to do."),
    (matrix.matrix, matrix.HELP, "How each backup location works from each cluster."),
    (history.history, history.HELP, "What has changed, newest first."),
    (events.events, events.HELP, "What changes, as it changes."),
    (availability.availability, availability.HELP, "How much of the time clusters could be reached."),
    (probe.probe, probe.HELP, "Ask one API server once, without a service."),
    (validate.validate, validate.HELP, "Ask clusters now."),
    (pause.pause, pause.PAUSE_HELP, "Take a cluster out of judgement, for a while."),
    (pause.resume, pause.RESUME_HELP, "Judge it again."),
    (login.login, login.HELP, "A link that lets a browser in."),
    (audit.audit, audit.HELP, "Who has changed what."),
    (log_level.log_level, log_level.HELP, "Show or set how much the service logs."),
    (version.version, version.HELP, "Say which release this is."),
):
    app.command(help=text, short_help=line)(function)

app.add_typer(clusters.app, name="clusters", help=clusters.CLUSTERS_HELP, short_help="List clusters, worst first.")
app.add_typer(
    locations.app, name="locations", help=locations.HELP, short_help="Backup locations: list, create, assign, delete."
)
app.add_typer(token.app, name="token", help=token.HELP, short_help="API tokens: create, list, revoke.")
app.add_typer(
    telemetry.app, name="telemetry", help=telemetry.HELP, short_help="What may leave: preview, on, off, audit."
)
app.add_typer(config.app, name="config", help=config.HELP, short_help="The settings: check, show, begin a file.")
app.add_typer(db.app, name="db", help=db.HELP, short_help="The service's database: dump, restore, migrate, psql.")
app.add_typer(receiver.app, name="receiver", help=receiver.HELP, short_help="Receive telemetry: EST and OTLP.")
app.add_typer(doctor.app, name="doctor", help=doctor.HELP, short_help="Examine what does not work.")
app.command("support-bundle", help=support.HELP, short_help="Collect what somebody else needs to help.")(
    support.support_bundle
)
