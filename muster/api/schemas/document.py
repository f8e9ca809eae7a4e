"""What all documents have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Common to all. Readers ignore fields that they don't know: the service may be newer than the CLI."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)
