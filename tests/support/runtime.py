"""Where services leave their local token, and how tests show it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from muster.access.local import token_path


@pytest.fixture(scope="session", autouse=True)
def runtime_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A directory of this worker's own, for services and commands alike: the machine's real one is left alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSTER_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime") / "muster"))
        yield


def bearer(secret: str) -> dict[str, str]:
    """The header that shows a token."""
    return {"Authorization": f"Bearer {secret}"}


def local_bearer(url: str) -> dict[str, str]:
    """The header with what the service of this URL has left; empty if there is no such file."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    try:
        return bearer(token_path(parts.hostname, parts.port).read_text().strip())
    except FileNotFoundError:
        return {}
