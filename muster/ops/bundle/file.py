"""A bundle as a file: mode 0600, whole or not at all."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path


def write_bundle(path: Path, documents: Mapping[str, bytes], mtime: float) -> int:
    """A tar.gz with a directory of its own in it; gives its size in bytes.

    Raises `OSError`, `FileExistsError` too: a bundle that somebody has already read must not change under them.
    """
    top = path.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=6) as archive:
        for name, content in documents.items():
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(mtime)
            archive.addfile(entry, io.BytesIO(content))
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(packed.getvalue())
        os.link(half, path)  # refuses what exists, as a rename would not
    finally:
        half.unlink(missing_ok=True)
    return len(packed.getvalue())
