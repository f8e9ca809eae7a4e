"""Probes leave some descriptors to everything else."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress

import pytest

from validator.net.descriptors import RESERVED, room_for_a_probe

LIMIT = 200


@pytest.fixture
def few() -> Iterator[list[int]]:
    """A list for descriptors that are opened, under a low limit."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, limits[1]))
    try:
        yield opened
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in opened:
            os.close(descriptor)


def take(opened: list[int]) -> None:
    opened.append(os.open(os.devnull, os.O_RDONLY))


def test_there_is_room_until_only_the_reserve_is_left(few: list[int]) -> None:
    while room_for_a_probe():
        take(few)
    assert LIMIT - max(few) - 1 == min(RESERVED, LIMIT // 4)
    os.close(few.pop())
    assert room_for_a_probe()


def test_without_any_descriptor_there_is_none(few: list[int]) -> None:
    with suppress(OSError):
        while True:
            take(few)
    assert len(few) > 100
    assert not room_for_a_probe()


def test_a_limit_that_is_raised_counts_at_once(few: list[int]) -> None:
    while room_for_a_probe():
        take(few)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT + 50, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    assert room_for_a_probe()
