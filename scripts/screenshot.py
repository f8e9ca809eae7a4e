#!/usr/bin/env python3
"""Draws docs/images/{status,matrix}.svg: what these commands show of a running service (start `make demo` first).

Usage: .venv/bin/python scripts/screenshot.py [URL]
"""

import sys
from pathlib import Path

from rich.console import Console

from muster.cli.client import Client
from muster.cli.matrix_picture import Asked, MatrixPicture
from muster.cli.options import Output
from muster.cli.picture import Picture

WIDTH = 118
HEIGHTS = {"status": 30, "matrix": 34}

client = Client(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8645")
for name, picture in (
    ("status", Picture(client, everything=False)),
    ("matrix", MatrixPicture(client, asked=Asked((), problems=False, everything=False, output=Output.TABLE))),
):
    console = Console(width=WIDTH, height=HEIGHTS[name], record=True, force_terminal=True, color_system="truecolor")
    for line in picture.lines(console, height=HEIGHTS[name]):
        console.print(line, no_wrap=True, crop=True)
    Path(f"docs/images/{name}.svg").write_text(console.export_svg(title=f"muster {name}"))
