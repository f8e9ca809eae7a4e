"""`python -m muster.docs [DIRECTORY]`: writes the generated pages into the repository, or below the directory named."""

from __future__ import annotations

import sys
from pathlib import Path

from muster.docs.pages import write_pages

if __name__ == "__main__":
    write_pages(Path(*sys.argv[1:2]))
