"""Asks the running service. Synchronous and on the standard library: a command asks once or twice and ends."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from pydantic import BaseModel, ValidationError

from muster.api import schemas

TIMEOUT_S = 10.0
"""For each wait on the socket. The service answers in milliseconds; history waits for its database up to this long."""

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A page of 5,000 clusters with long labels has some 10 MB."""

PAGE = 1000
"""Clusters in one request."""

M = TypeVar("M", bound=BaseModel)
Query = Sequence[tuple[str, object]]


class BadServer(ValueError):  # noqa: N818 - what is bad is the address given
    """The service's URL makes no sense."""


class NotReachable(Exception):  # noqa: N818 - a state of the world, not a defect
    """Nobody answers, or whoever answers is not Muster."""


class Refused(Exception):  # noqa: N818 - the service's word
    """The service answered with a problem document."""

    def __init__(self, problem: schemas.Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem

    @property
    def kind(self) -> str:
        """The end of the problem's type, e.g. `cluster-not-found`."""
        return self.problem.type.rpartition("/")[2]


class Client:
    """One service. Raises `BadServer`; its methods raise `NotReachable` and `Refused`."""

    def __init__(self, server: str) -> None:
        try:
            parts = urlsplit(server)
            port = parts.port
        except ValueError:
            raise BadServer(f"{server!r} is not a URL") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
            raise BadServer(f"{server!r} is not like http://127.0.0.1:8645")
        if "@" in parts.netloc:
            raise BadServer("the service's URL holds a user or a password; this release has none")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._secure = parts.scheme == "https"
        self._host = parts.hostname
        self._port = port or (443 if self._secure else 80)

    def fleet(self) -> schemas.Fleet:
        """The fleet in numbers."""
        return self._get(schemas.Fleet, "/api/v1/fleet")

    def page(self, limit: int, query: Query = (), after: str | None = None) -> schemas.ClusterPage:
        """One page of clusters, those that need attention first."""
        more = [("after", after)] if after else []
        return self._get(schemas.ClusterPage, "/api/v1/clusters", [*query, *more, ("limit", limit)])

    def pages(self, query: Query = ()) -> Iterator[schemas.ClusterPage]:
        """All pages."""
        page = self.page(PAGE, query)
        yield page
        while page.next is not None:
            page = self.page(PAGE, query, page.next)
            yield page

    def cluster(self, name: str) -> schemas.ClusterDetail:
        """One cluster by name, other name, or id."""
        return self._get(schemas.ClusterDetail, f"/api/v1/clusters/{quote(name, safe='')}")

    def transitions(self, name: str | None, limit: int, before: int | None = None) -> schemas.TransitionPage:
        """Transitions, newest first, of one cluster or of all."""
        path = "/api/v1/transitions" if name is None else f"/api/v1/clusters/{quote(name, safe='')}/history"
        query: list[tuple[str, object]] = [("limit", limit)]
        return self._get(schemas.TransitionPage, path, [*query, ("before", before)] if before else query)

    def _get(self, kind: type[M], path: str, query: Query = ()) -> M:
        status, headers, body = self._ask(f"{path}?{urlencode(query)}" if query else path)
        content_type = headers.get("Content-Type", "").partition(";")[0]
        try:
            if status == 200 and content_type == "application/json":
                return kind.model_validate_json(body)
            if content_type == "application/problem+json":
                raise Refused(schemas.Problem.model_validate_json(body))
        except ValidationError as error:
            fields = ", ".join(".".join(map(str, e["loc"])) for e in error.errors()[:3])
            raise NotReachable(
                f"the answer of {self.url} can't be read ({fields}): it is of another release of Muster"
            ) from None
        raise NotReachable(f"what answers at {self.url} is not Muster: {status} {content_type or 'without a type'}")

    def _ask(self, target: str) -> tuple[int, Mapping[str, str], bytes]:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", target, headers={"Accept": "application/json", "User-Agent": "muster-cli"})
            response = connection.getresponse()
            body = response.read(MAX_ANSWER_BYTES + 1)
        except TimeoutError:
            raise NotReachable(f"{self.url} does not answer within {TIMEOUT_S:.0f} s") from None
        except OSError as error:
            raise NotReachable(f"{self.url}: {error.strerror or error}") from error
        except http.client.HTTPException as error:
            raise NotReachable(f"what answers at {self.url} does not speak HTTP ({type(error).__name__})") from error
        finally:
            connection.close()
        if len(body) > MAX_ANSWER_BYTES:
            raise NotReachable(f"the answer of {self.url} is larger than any of Muster's")
        return response.status, dict(response.headers), body


def as_json(document: BaseModel) -> Any:
    """A document as plain data."""
    return json.loads(document.model_dump_json())
