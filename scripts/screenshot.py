#!/usr/bin/env python3
"""Draws docs/images/status.svg: what `muster status` shows of a running service (start `make demo` first).

Usage: .venv/bin/python scripts/screenshot.py [URL]
"""

import sys
from pathlib import Path

from rich.console import Console

from muster.cli.client import Client
from muster.cli.picture import Picture

WIDTH, HEIGHT = 118, 30

console = Console(width=WIDTH, height=HEIGHT, record=True, force_terminal=True, color_system="truecolor")
picture = Picture(Client(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8645"), everything=False)
for line in picture.lines(console, height=HEIGHT):
    console.print(line, no_wrap=True, crop=True)
Path("docs/images/status.svg").write_text(console.export_svg(title="muster status"))
