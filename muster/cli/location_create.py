"""`muster locations create`: a new backup location, from options or from a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from muster.cli.asking import asking
from muster.cli.completion import names
from muster.cli.exits import PLAIN_CODES_HELP, Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

HELP = f"""Make a backup location. Needs the role operator.

Afterwards only its clusters can be changed (assign, unassign), so look twice. An encryption key is given by reference
only: a Key Vault URI, a KMS ARN, alias or resource name, or a Secret as NAMESPACE/NAME#KEY. With --from-file the fields
come from a YAML or JSON file, named as the API names them.

\b
Examples:
  muster locations create eu --provider azure --account acme --bucket c1 --environment AzureCloud
  muster locations create backups-s3 --provider s3 --bucket acme-backups --region eu-central-1
  muster locations create minio --provider s3 --bucket daily --endpoint https://minio.example.com
  muster locations create --from-file location.yaml

{PLAIN_CODES_HELP}
"""

MAX_FILE_BYTES = 64 * 1024
"""As much as the API takes."""


class Provider(StrEnum):
    """Whose storage it is."""

    AZURE = "azure"
    S3 = "s3"
    GCS = "gcs"


def create(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Unique; a Kubernetes name.")] = None,
    provider: Annotated[Provider | None, typer.Option("--provider", help="Whose storage it is.")] = None,
    container: Annotated[
        str | None, typer.Option("--container", "--bucket", metavar="NAME", help="Its name alone, without a prefix.")
    ] = None,
    account: Annotated[str | None, typer.Option("--account", metavar="NAME", help="Azure: storage account.")] = None,
    environment: Annotated[
        str | None,
        typer.Option("--environment", metavar="CLOUD", help="Azure: AzurePublicCloud or AzureChinaCloud."),
    ] = None,
    resource_group: Annotated[
        str | None, typer.Option("--resource-group", metavar="NAME", help="Azure: needed to read object lock.")
    ] = None,
    subscription_id: Annotated[
        str | None, typer.Option("--subscription-id", metavar="UUID", help="Azure: needed to read object lock.")
    ] = None,
    region: Annotated[str | None, typer.Option("--region", metavar="REGION", help="S3: of the bucket.")] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help="S3: of a compatible store.")
    ] = None,
    path_style: Annotated[bool, typer.Option("--path-style", help="S3: the bucket in the path.")] = False,
    encryption_key: Annotated[
        str | None, typer.Option("--encryption-key", metavar="REFERENCE", help="Where the key is kept; never a key.")
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="OWNER", help="Whose it is; you without.")] = None,
    sync: Annotated[bool, typer.Option("--sync", help="List the backups that are there.")] = False,
    write_probe: Annotated[
        bool, typer.Option("--write-probe", help="Checks also write and delete a small object.")
    ] = False,
    allow_shared: Annotated[
        bool, typer.Option("--allow-shared", help="Even though another location has the bucket.")
    ] = False,
    cluster: Annotated[
        list[str] | None,
        typer.Option("--cluster", metavar="CLUSTER", help="That uses it; repeat for more.", autocompletion=names),
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option("--from-file", "-f", metavar="FILE", help="Fields from YAML or JSON.")
    ] = None,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    given: dict[str, Any] = {
        "name": name,
        "provider": None if provider is None else provider.value,
        "container": container,
        "account": account,
        "environment": environment,
        "resource_group": resource_group,
        "subscription_id": subscription_id,
        "region": region,
        "endpoint": endpoint,
        "path_style": path_style,
        "encryption_key": encryption_key,
        "owner": owner,
        "sync": sync,
        "write_probe": write_probe,
        "allow_shared": allow_shared,
        "clusters": cluster or [],
    }
    wanted = {field: value for field, value in given.items() if value not in (None, False, [])}
    if from_file is not None:
        if wanted:
            fail(Exit.USAGE, "--from-file and other fields can't both be meant", "Put them all into the file.")
        wanted = _read(from_file)
    elif missing := [field for field in ("name", "provider", "container") if field not in wanted]:
        options = {"name": "NAME", "provider": "--provider", "container": "--container"}
        fail(
            Exit.USAGE,
            f"{', '.join(options[field] for field in missing)} is missing",
            "`muster locations create --help` has examples.",
        )
    with asking(server, token_file, ca_file) as client:
        made = client.create_location(wanted)
    from muster.cli.render.locations import show_location  # noqa: PLC0415 - `--help` needs it not

    show_location(made, output)


def _read(path: Path) -> dict[str, Any]:
    """The fields of a file. Its values are repeated nowhere: somebody may have put a key there."""
    from validator.discovery.plain_yaml import YamlError, parse_yaml  # noqa: PLC0415 - `--help` needs none of these
    from validator.files import FileError, read_file  # noqa: PLC0415

    try:
        found = parse_yaml(read_file(path, MAX_FILE_BYTES).text)
    except FileError as error:
        fail(Exit.USAGE, f"--from-file: {error.message}", error.remedy)
    except YamlError as error:
        fail(Exit.USAGE, f"--from-file {path}: {error}", "One field a line: `name: backups-eu`.")
    if not isinstance(found, dict):
        fail(Exit.USAGE, f"--from-file {path}: has no fields", "One field a line: `name: backups-eu`.")
    return found
