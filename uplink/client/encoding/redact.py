"""Free text without secrets, addresses and names. Pure.

A search for secrets can miss one, which is why free text is off unless asked for, and why no field has any that could
be a word. What looks like a secret and is none goes too: a message that says less is the cheaper mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from uplink.client.encoding.pseudonyms import Pseudonyms
from validator.clean import clean_text
from validator.scrub import GONE, scrub

MAX_TEXT_CHARS = 500
"""As of a verdict's message."""

MAX_SEARCHED_CHARS = 4 * MAX_TEXT_CHARS
"""What is looked at; the rest is cut off before."""

_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@]+@")
_PRIVATE = re.compile(
    r"(?i)\b([\w.-]*(?:pass(?:word|wd|phrase)?|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credentials?))"
    r"(['\"]?\s*(?:[:=]|\bis\b)\s*)(?:\"[^\"]*\"|'[^']*'|[^\s,;]+)"
)
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*")
_LONG = re.compile(r"(?=[A-Za-z0-9_/+=-]*\d)(?=[A-Za-z0-9_/+=-]*[A-Za-z])[A-Za-z0-9_/+=-]{20,}|\b[A-Fa-f0-9]{32,}\b")
"""Keys and tokens of any make: long, of letters and digits without a gap. Cluster UIDs go with them."""
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/?#]*)[/?#][^\s'\"<>]*")
_ADDRESS = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|\[?[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}\]?)(?![\w.])"
)
_HOST = re.compile(r"\b(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\.)+[A-Za-z]{2,63}\b")
_FILE = re.compile(r"(?<![\w:/])(?:~|/)(?:[\w.@-]+/)*[\w.@-]+")

SHORTEST = 3
"""Names shorter than this are not looked for: they would be found in words."""


def redact(text: str, names: Pseudonyms, known: Iterable[str] = ()) -> str:
    """The text as it may leave. `known` are names that it may hold in any form."""
    text = scrub(text[:MAX_SEARCHED_CHARS])
    text = _PRIVATE.sub(rf"\1\2{GONE}", text)
    text = _USERINFO.sub(rf"\1{GONE}@", text)
    text = _URL.sub(r"\1/…", text)
    for name in sorted({each for each in known if len(each) >= SHORTEST}, key=len, reverse=True):
        text = re.sub(re.escape(name), "[name]", text, flags=re.IGNORECASE)  # DNS and people don't tell cases apart
    text = _MAIL.sub(lambda found: names.name("mail", found[0]), text)
    text = _FILE.sub("/…", text)
    text = _HOST.sub(lambda found: names.name("host", found[0].lower()), text)
    text = _ADDRESS.sub(lambda found: names.name("address", found[0]), text)
    text = _LONG.sub(lambda found: GONE if not _is_ours(found[0]) else found[0], text)
    return clean_text(text, MAX_TEXT_CHARS)


def _is_ours(text: str) -> bool:
    return re.fullmatch(r"(?:mail|host|address)-[0-9a-f]{16}", text) is not None
