"""How a Secret is named in the settings. Imports nothing of ours: the settings check theirs with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

MAX_NAME_CHARS: Final = 253
"""DNS-1123 subdomain, as Kubernetes bounds names of Secrets."""

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")
_NAMESPACE = re.compile(_LABEL)


@dataclass(frozen=True, slots=True)
class SecretName:
    """Safe in a path as it is: neither part can hold a slash, or lead elsewhere."""

    name: str
    namespace: str | None = None
    """None = the pod's own."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """`NAME` or `NAMESPACE/NAME`. Raises ValueError."""
        namespace, slash, name = text.rpartition("/")
        good = _NAME.fullmatch(name) and len(name) <= MAX_NAME_CHARS and ".." not in name
        if not good or (slash and not is_namespace(namespace)):
            raise ValueError("a Secret is NAME or NAMESPACE/NAME, in lower case, e.g. muster-telemetry")
        return cls(name, namespace or None)

    def __str__(self) -> str:
        return self.name if self.namespace is None else f"{self.namespace}/{self.name}"


def is_namespace(text: str) -> bool:
    """Whether Kubernetes would have a namespace of this name (a DNS-1123 label)."""
    return _NAMESPACE.fullmatch(text) is not None
