"""Documents as HTTP answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, TypeAdapter

from muster.api import present, schemas

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def json_answer(document: schemas.Document, status: int = 200) -> web.Response:
    """One document."""
    return web.Response(status=status, body=document.model_dump_json().encode(), content_type="application/json")


async def json_list(
    head: schemas.Document, items: Sequence[T], present_one: Callable[[T], M], adapter: TypeAdapter[list[M]]
) -> web.Response:
    """`head`, whose last member is an empty list, with the items in it: made in chunks, so that probes stay on time."""
    start, end = head.model_dump_json().encode().removesuffix(b"]}"), b"]}"
    parts = [adapter.dump_json([present_one(item) for item in some])[1:-1] async for some in present.chunks(items)]
    return web.Response(body=start + b",".join(parts) + end, content_type="application/json")
