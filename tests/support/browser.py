"""A real browser, and what it says of our pages."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, async_playwright

from tests.support.need import need

FLAGS = (
    "--no-sandbox",  # it takes user namespaces, which containers lack
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's, without a window and with a profile of its own; skips the test where there is none."""
    path = shutil.which("chromium")
    need(path, "a test in a browser needs Chromium; on Debian: scripts/system-packages chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


class Complaints(list[str]):
    """What went wrong in the pages of a context: breaches of their policy, and exceptions that nobody caught."""

    async def listen(self, context: BrowserContext) -> None:
        await context.expose_binding("complain", lambda _, text: self.append(text))
        await context.add_init_script(
            "addEventListener('securitypolicyviolation',"
            " event => complain(`${event.effectiveDirective} refused ${event.blockedURI}`))"
        )
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.append(str(error.error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.append(message.text)


@asynccontextmanager
async def visiting(browser: Browser, **options: Any) -> AsyncIterator[BrowserContext]:
    """A visitor with no history and no cookies; fails at the end if the pages did anything that they may not."""
    context = await browser.new_context(**options)
    complaints = Complaints()
    await complaints.listen(context)
    yield context
    await context.close()
    assert complaints == []
