"""Where a product's location is, in our terms; the same place under two names is one place. Pure.

What the products write differs: environments by several spellings, endpoints with and without a scheme, Amazon's own
endpoint spelt out.
"""

from __future__ import annotations

import re
from uuid import NAMESPACE_URL, UUID, uuid5

from validator.locations import BLOB_SUFFIXES, Environment, FieldProblem, Location, Provider, environment_from
from validator.printable import printable

Place = tuple[str, str, str]

_AMAZON = re.compile(r"https?://s3[.-]?([a-z0-9-]+\.)*amazonaws\.com(\.cn)?(:443)?/?", re.IGNORECASE)


def place_of(location: Location) -> Place:
    """What makes two locations the same one, whatever they are called: provider, whose namespace, container."""
    if location.provider is Provider.AZURE:
        environment = location.environment or Environment.PUBLIC
        return location.provider, f"{location.account}.{BLOB_SUFFIXES[environment]}", location.container
    return location.provider, (endpoint_of(location.endpoint) or "").lower(), location.container


def id_of(place: Place) -> UUID:
    """An id that follows from the place, so that what is found is the same location from whichever cluster."""
    return uuid5(NAMESPACE_URL, "|".join(place))


def found_at(
    name: str,
    provider: Provider,
    container: str,
    *,
    account: str | None = None,
    environment: Environment | None = None,
    resource_group: str | None = None,
    subscription_id: str | None = None,
    region: str | None = None,
    endpoint: str | None = None,
    path_style: bool = False,
) -> Location:
    """The location under the id of its place. Resource group and subscription are of use together only."""
    both = resource_group is not None and subscription_id is not None
    bare = Location(UUID(int=0), name, provider, container, account, environment, endpoint=endpoint)
    return Location(
        id_of(place_of(bare)),
        name,
        provider,
        container,
        account,
        environment,
        resource_group if both else None,
        subscription_id if both else None,
        region,
        endpoint,
        path_style,
    )


def environment_of(field: str, written: str | None) -> Environment | FieldProblem:
    """The environment that a product's text means; the products' default is the public cloud."""
    if written is None:
        return Environment.PUBLIC
    known = environment_from(written)
    return known or FieldProblem(field, f"{printable(written, 40)} is neither AzurePublicCloud nor AzureChinaCloud")


def endpoint_of(written: str | None, *, tls: bool = True) -> str | None:
    """An S3 endpoint as a URL; None for Amazon's own, which every asker knows by itself."""
    if written is None:
        return None
    url = written if "://" in written else f"{'https' if tls else 'http'}://{written}"
    return None if _AMAZON.fullmatch(url) else url.rstrip("/")
