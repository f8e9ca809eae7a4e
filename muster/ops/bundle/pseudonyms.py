"""Names that stand for names."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable

_HOST = re.compile(r"\b(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\.)+[A-Za-z]{2,63}\b")
_ADDRESS = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7})(?![\w.])")
_LABEL = re.compile(r'(cluster|source|server|instance|endpoint)="((?:[^"\\]|\\.)*)"')
_HOME = re.compile(r"/(home|root|Users)\b[^\s,;:'\")]*")
SHORTEST = 3
"""Names shorter than this are not looked for in free text: they would be found in words."""


class Pseudonyms:
    """Of one bundle. `key` is random and forgotten, so nobody can try names against them."""

    def __init__(self, key: bytes, names: Iterable[str]) -> None:
        """`names` are those that are looked for in free text."""
        self._key = key
        known = sorted({name for name in names if len(name) >= SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def name(self, kind: str, name: str) -> str:
        """E.g. `cluster-5f0c31a2`."""
        return f"{kind}-{hmac.new(self._key, name.encode(errors='replace'), 'sha256').hexdigest()[:8]}"

    def text(self, text: str) -> str:
        """Free text without names, hosts, addresses beyond this machine, and home directories."""
        if self._known is not None:
            text = self._known.sub(lambda found: self.name("name", found[0]), text)
        text = _HOME.sub("/home/…", text)
        text = _ADDRESS.sub(self._address, text)
        return _HOST.sub(lambda found: self.name("host", found[0]), text)

    def metrics(self, text: str) -> str:
        """Prometheus text: the values of labels that name something."""
        return _LABEL.sub(lambda found: f'{found[1]}="{self.name(found[1], found[2])}"', text)

    def _address(self, found: re.Match[str]) -> str:
        try:
            address = ipaddress.ip_address(found[0])
        except ValueError:  # a time of day, say
            return found[0]
        return found[0] if address.is_loopback or address.is_unspecified else self.name("address", found[0])
