"""The login page in a real browser: from the link to the fleet in numbers, and out again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from muster.access.access import Access
from muster.access.sessions import COOKIE
from muster.api.server import ApiServer
from tests.support.browser import Complaints, chromium, visiting
from tests.support.hub import MadeUpHub, api_server, made_up_access
from tests.support.service import own_directory
from tests.support.terminal import CTRL_C, Terminal, on_a_terminal
from validator.reasons import Reason

pytestmark = pytest.mark.asyncio(loop_scope="module")  # of the browser, which takes a second to start

AGAIN = re.compile(r"The code is wrong, was used, or is older than ten minutes\. muster login makes another one\.")
SOON_MS = 12_000
"""Under the 15 s after which the page would look by itself."""


class Served:
    """A made-up fleet of three behind the real API."""

    def __init__(self) -> None:
        self.hub = MadeUpHub()
        self.hub.put("one", self.hub.answer())
        self.hub.put("two", self.hub.answer())
        self.hub.put("three", *(self.hub.answer(Reason.CONNECT_TIMEOUT, ago_s=ago) for ago in (4, 3, 2)))
        self.access: Access = made_up_access(self.hub)
        self.server: ApiServer = api_server(self.hub, access=self.access)

    @property
    def page(self) -> str:
        return f"{self.server.url}/login"

    def link(self) -> str:
        return self.access.operator_link(self.server.url)

    async def start(self, port: int = 0) -> None:
        self.server = api_server(self.hub, port=port, access=self.access)
        await self.server.start()
        self._beating = asyncio.create_task(self.server.pulse.run(), name="pulse")

    async def stop(self) -> None:
        self._beating.cancel()
        self.hub.events.end("it stops")
        await self.server.stop()
        self.hub.events.begin(0)


@pytest_asyncio.fixture(loop_scope="module")
async def served() -> AsyncIterator[Served]:
    served = Served()
    await served.start()
    yield served
    await served.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(browser: Browser, served: Served) -> AsyncIterator[BrowserContext]:
    async with visiting(browser) as context:
        yield context


@pytest_asyncio.fixture(loop_scope="module")
async def page(visitor: BrowserContext) -> Page:
    return await visitor.new_page()


def inside(page: Page) -> Any:
    return expect(page.get_by_role("heading", name="Logged in as operator"))


def form(page: Page) -> Any:
    return expect(page.get_by_label("Link or code"))


async def counts(page: Page) -> list[str]:
    return [" ".join(text.split()) for text in await page.get_by_role("listitem").all_inner_texts()]


async def remembered(page: Page) -> list[str]:
    """Addresses to which the buttons back and forward lead."""
    found: list[str] = await page.evaluate("navigation.entries().map(entry => entry.url)")
    return found


# -- the service as people run it


@pytest.fixture
def running() -> Iterator[Terminal]:
    with own_directory() as directory:
        environment = {
            "MUSTER_DATA_DIR": str(directory / "data"),
            "MUSTER_RUNTIME_DIR": str(directory / "run"),
            "MUSTER_LISTEN": "127.0.0.1:0",
            "KUBECONFIG": str(directory / "none"),
        }
        with on_a_terminal("muster", "run", environment=environment, columns=200) as terminal:
            yield terminal
            terminal.press(CTRL_C)
            assert terminal.ended(10) == 0


async def test_the_link_of_muster_run_logs_in_once(running: Terminal, browser: Browser) -> None:
    await asyncio.to_thread(running.until, r"/login#code=\S{43}\s", 40)
    found = re.search(r"http://\S+/login#code=(\S{43})", running.text)
    assert found is not None
    link, code = found[0], found[1]
    async with visiting(browser) as visitor:
        page = await visitor.new_page()
        await page.goto(link)
        await inside(page).to_be_visible()
        assert page.url == link.partition("#")[0]
        assert code not in str(await remembered(page))
        [cookie] = await visitor.cookies()
        assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (COOKIE, True, "Strict", "/")
        assert await page.evaluate("document.cookie") == ""
        await expect(page.get_by_role("heading", name="0 clusters")).to_be_visible(timeout=30_000)  # it leads by now
        audit = await page.evaluate("fetch('api/v1/audit').then(response => response.text())")
        assert code not in audit
    async with visiting(browser) as somebody_else:
        page = await somebody_else.new_page()
        await page.goto(link)
        await expect(page.get_by_role("alert")).to_have_text(AGAIN)
        await form(page).to_be_visible()
        assert code not in page.url + str(await remembered(page))
        assert await somebody_else.cookies() == []


# -- in


async def test_a_link_can_be_pasted_and_sent_with_the_keyboard(served: Served, page: Page) -> None:
    await page.goto(served.page)
    await form(page).to_be_focused()
    await expect(page.get_by_text("muster login")).to_have_text(f"muster login --server {served.server.url}")
    await page.keyboard.insert_text(f"  {served.link()}\n")
    await page.keyboard.press("Enter")
    await inside(page).to_be_focused()  # a screen reader goes on from there
    await expect(page.get_by_role("heading", name="3 clusters")).to_be_visible()
    assert await counts(page) == [
        "1 Unreachable", "0 Unhealthy", "0 Unknown", "0 Degraded", "0 Suspended", "2 Healthy",
    ]  # fmt: skip
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="Log out")).to_be_focused()


async def test_a_code_alone_is_taken_too(served: Served, page: Page) -> None:
    await page.goto(served.page)
    await page.get_by_label("Link or code").fill(served.link().partition("#code=")[2])
    await page.get_by_role("button", name="Log in").click()
    await inside(page).to_be_visible()


async def test_a_link_over_an_open_page_is_taken(served: Served, page: Page) -> None:
    """The browser does not load the page again then."""
    await page.goto(served.page)
    await form(page).to_be_visible()
    await page.goto(served.link())
    await inside(page).to_be_visible()
    assert set(await remembered(page)) <= {"about:blank", served.page}


async def test_who_is_logged_in_already_sees_that_from_the_root_and_in_another_tab(
    served: Served, visitor: BrowserContext, page: Page
) -> None:
    await page.goto(served.link())
    await inside(page).to_be_visible()
    other = await visitor.new_page()
    await other.goto(served.server.url)
    assert other.url == served.page
    await inside(other).to_be_visible()
    await page.get_by_role("link", name="API description").click()
    await expect(page.locator("body")).to_contain_text('"openapi": "3.1.0"')


@pytest.mark.parametrize("why", ["wrong", "used", "newer", "expired"])
async def test_a_code_that_is_not_taken_says_why_and_how_to_get_another(served: Served, page: Page, why: str) -> None:
    link = served.link()
    if why == "wrong":
        link += "x"
    elif why == "used":
        served.access.sessions.exchange(link.partition("#code=")[2])
    elif why == "newer":
        served.link()
    else:
        assert served.access.sessions._waiting is not None
        served.access.sessions._waiting = replace(served.access.sessions._waiting, expires_at=0.0)
    await page.goto(link)
    await expect(page.get_by_role("alert")).to_have_text(AGAIN)
    await form(page).to_be_focused()
    assert page.url == served.page
    await page.keyboard.insert_text(served.link())
    await page.keyboard.press("Enter")
    await inside(page).to_be_visible()
    await expect(page.get_by_role("alert")).to_be_empty()


async def test_a_wrong_link_ends_no_session(served: Served, page: Page) -> None:
    await page.goto(served.link())
    await inside(page).to_be_visible()
    await page.goto(f"{served.page}#code=nonsense")
    await expect(page.get_by_role("alert")).to_have_text(AGAIN)
    await inside(page).to_be_visible()


async def test_a_name_is_text(served: Served, page: Page) -> None:
    name = "<img src=x onerror=alert(1)>"
    code = served.access.sessions.new_code(name).text
    await page.goto(f"{served.page}#code={code}")
    await expect(page.get_by_role("heading", name=f"Logged in as {name}")).to_be_visible()
    assert await page.locator("img").count() == 0


# -- while one is


async def test_the_numbers_follow_the_fleet(served: Served, page: Page) -> None:
    await page.goto(served.link())
    await expect(page.get_by_role("heading", name="3 clusters")).to_be_visible()
    served.hub.put("four", served.hub.answer(Reason.CERTIFICATE_EXPIRING_SOON))
    await expect(page.get_by_role("heading", name="4 clusters")).to_be_visible(timeout=SOON_MS)
    bar = page.locator("#bar span")
    assert await bar.evaluate_all("parts => parts.map(part => part.dataset.health + part.style.flexGrow)") == [
        "Unreachable1",
        "Degraded1",
        "Healthy2",
    ]


async def test_the_numbers_are_never_stale_green(served: Served, page: Page) -> None:
    await page.goto(served.link())
    await expect(page.get_by_role("heading", name="3 clusters")).to_be_visible()
    green = page.locator("#bar [data-health=Healthy]")
    colour = "part => getComputedStyle(part).backgroundColor"
    fresh = await green.evaluate(colour)
    await served.stop()
    await expect(page.get_by_text("Muster does not answer")).to_be_visible(timeout=SOON_MS)
    assert await green.evaluate(colour) != fresh
    await served.start(int(served.server.url.rpartition(":")[2]))
    await expect(page.get_by_text("Muster does not answer")).to_be_hidden(timeout=SOON_MS)
    assert await green.evaluate(colour) == fresh


async def test_an_instance_without_a_picture_says_so_instead_of_numbers(served: Served, page: Page) -> None:
    served.hub.stand_by("the database")
    await page.goto(served.link())
    await expect(page.get_by_text("This instance has no picture of the fleet")).to_be_visible()
    await expect(page.get_by_role("heading", name="clusters")).to_be_hidden()
    await expect(page.get_by_role("button", name="Log out")).to_be_visible()


async def test_a_session_that_has_ended_leaves_the_form(served: Served, visitor: BrowserContext, page: Page) -> None:
    await page.goto(served.link())
    await expect(page.get_by_role("heading", name="3 clusters")).to_be_visible()
    [cookie] = await visitor.cookies()
    served.access.sessions.end(cookie["value"])
    served.hub.put("four", served.hub.answer())
    await expect(page.get_by_role("alert")).to_have_text("The session has ended. Log in again.", timeout=SOON_MS)
    await form(page).to_be_focused()
    await expect(page.get_by_role("heading", name="clusters")).to_be_hidden()


# -- out


async def test_logging_out_ends_the_session_for_good(served: Served, visitor: BrowserContext, page: Page) -> None:
    await page.goto(served.link())
    await inside(page).to_be_visible()
    [cookie] = await visitor.cookies()
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("status").first).to_have_text("Logged out.")
    await form(page).to_be_focused()
    assert await visitor.cookies() == []
    assert served.access.sessions.find(cookie["value"]) is None
    await page.reload()
    await form(page).to_be_visible()


# -- everybody


async def test_without_javascript_it_says_what_to_do(browser: Browser, served: Served) -> None:
    async with visiting(browser, java_script_enabled=False) as visitor:
        page = await visitor.new_page()
        await page.goto(served.link())
        await expect(page.get_by_role("heading", name="This page needs JavaScript")).to_be_visible()
        await expect(page.get_by_text("muster status")).to_be_visible()
        await expect(page.locator("form")).to_be_hidden()  # it would send the code nowhere


LEGIBLE = """() => {
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => numbers(colour).slice(0, 3)
    .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    const colour = getComputedStyle(element).backgroundColor;
    return numbers(colour)[3] === 0 ? behind(element.parentElement) : colour;
  };
  return [...document.querySelectorAll("body *")]
    .filter(each => each.checkVisibility())
    .filter(each => [...each.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .map(each => {
      const [low, high] = [light(getComputedStyle(each).color), light(behind(each))].sort((a, b) => a - b);
      return [each.textContent, (high + 0.05) / (low + 0.05)];
    });
}"""
"""Each text with its contrast, as WCAG 2 has it."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1600])
async def test_it_is_legible_and_nothing_sticks_out(browser: Browser, served: Served, scheme: str, width: int) -> None:
    async def look(page: Page) -> None:
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        texts = await page.evaluate(LEGIBLE)
        assert len(texts) > 5
        assert {text: contrast for text, contrast in texts if contrast < 4.5} == {}

    async with visiting(browser, color_scheme=scheme, viewport={"width": width, "height": 740}) as visitor:
        page = await visitor.new_page()
        await page.goto(f"{served.page}#code=nonsense")
        await expect(page.get_by_role("alert")).to_have_text(AGAIN)
        await look(page)
        code = served.access.sessions.new_code("a-token-" + "w" * 56).text
        await page.goto(f"{served.page}#code={code}")
        await expect(page.get_by_role("heading", name="3 clusters")).to_be_visible()
        await look(page)
        await visitor.set_offline(True)
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as one who comes back to the tab
        await expect(page.get_by_text("Muster does not answer")).to_be_visible()
        await look(page)


async def test_what_the_policy_forbids_would_be_seen_here(browser: Browser, served: Served) -> None:
    """The control of all tests above: each fails at its end if its pages were refused anything."""
    context, complaints = await browser.new_context(), Complaints()
    await complaints.listen(context)
    page = await context.new_page()
    await page.goto(served.page)
    await form(page).to_be_visible()
    assert complaints == []
    await page.evaluate("document.body.setAttribute('style', 'color: red')")
    await page.evaluate("fetch('http://127.0.0.2:1/').catch(() => null)")
    await page.evaluate("document.body.append(Object.assign(document.createElement('img'), {src: 'data:,'}))")
    async with asyncio.timeout(5):
        for what in ("style-src", "connect-src", "img-src"):
            while not any(what in each for each in complaints):  # noqa: ASYNC110 - the browser tells by and by
                await asyncio.sleep(0.02)
    await context.close()
