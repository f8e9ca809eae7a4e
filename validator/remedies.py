"""The part of a remedy that is about one cloud. Pure."""

from __future__ import annotations

import re

from validator.locations import Provider

CLOUDS = {Provider.AZURE: "Azure", Provider.S3: "AWS", Provider.GCS: "Google"}
"""As remedies name them, with a colon."""

_CLOUD = re.compile(r"(?:^|(?<=[.;] ))((?:Azure|AWS|Google|EKS Pod Identity)(?: and (?:AWS|Google))?): ")
_END = re.compile(r"(?<=\.) (?=[A-Z`])")


def of_cloud(remedy: str, cloud: str) -> str:
    """A remedy without what it says of other clouds. The whole of it, where it says nothing of this one.

    It is "for all. Azure: …; AWS: …. Google: …. For all.": after the last cloud's first sentence all is for all again.
    """
    lead, *parts = _CLOUD.split(remedy)
    clouds, texts = parts[::2], parts[1::2]
    if not any(cloud in each for each in clouds):
        return remedy
    texts[-1], *rest = _END.split(texts[-1], maxsplit=1)
    said = [text.strip().rstrip(";.") for name, text in zip(clouds, texts, strict=True) if cloud in name]
    return " ".join([*([lead.strip()] if lead.strip() else []), *(f"{_capital(each)}." for each in said), *rest])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
