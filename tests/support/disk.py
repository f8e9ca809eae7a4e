"""A small file system, to be filled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.postgres import private_directory


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 128 MiB: an empty data directory takes half of it."""
    need(sys.platform == "linux" and os.geteuid() == 0, "mounting a small file system needs root on Linux")
    directory = private_directory()
    options = "size=128m,mode=0755"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "muster-test", directory], check=False)
    need(mounted.returncode == 0, "mounting a small file system needs CAP_SYS_ADMIN")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)
        directory.rmdir()


def fill(directory: Path) -> Path:
    """Leave no block free; gives the file that takes them."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return filler
