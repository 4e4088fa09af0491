"""A real browser at the dashboard of a deployment: Debian's Chromium, driven by playwright.

Whatever a page says on its console, any error of it and any violation of its policy fails the test that
opened it.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from tests.engines import ENGINES
from tests.stories.deployment import KEY, PATIENCE, Deployment

PATHS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing but this machine is looked up.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
SIZES = {"wide": (1280, 900), "narrow": (390, 844)}
LEAST = 320
"""The least width in pixels at which nothing scrolls sideways (WCAG 1.4.10)."""
TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll("main *, header *")]
        .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
        .map((one) => `${one.tagName}.${one.className} ${one.getBoundingClientRect().right}`).slice(0, 12)"""
"""A script that returns the elements that reach over the edge of a page that scrolls sideways."""
VIOLATIONS = """addEventListener("securitypolicyviolation",
    (event) => console.error("policy", event.violatedDirective, event.blockedURI))"""
"""A script that reports violations of the policy."""
SHOTS = Path(os.environ.get("RINGBACK_SCREENSHOTS") or Path(__file__).parents[2] / ".cache" / "screens")
"""The folder for pictures of the screens. They are made on SQLite only: the database is not to be seen."""


def executable() -> str:
    """Return the path of Chromium. `tests/servers.sh` installs it."""
    found = next((path for name in PATHS if (path := shutil.which(name))), None)
    assert found is not None, "Chromium is not installed: run tests/servers.sh"
    return found


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Yield a browser. It ends with the context."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@dataclass(slots=True)
class Desk:
    """A page of the dashboard, and all that it complained about."""

    page: Page
    deployment: Deployment
    complaints: list[str] = field(default_factory=list)

    async def sign_in(self, key: str = KEY) -> None:
        """Sign in with an API key."""
        await self.page.goto(self.deployment.url)
        await self.page.get_by_label("API key").fill(key)
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.get_by_role("navigation", name="Screens").wait_for()

    async def go(self, path: str, heading: str) -> None:
        """Show a screen, and wait for its heading."""
        await self.page.goto(f"{self.deployment.url}/#/{path}")
        await self.page.get_by_role("heading", level=1, name=heading).wait_for()

    async def picture(self, name: str) -> None:
        """Write a picture of the screen in light and dark, wide and narrow. It must fit the least width."""
        if not ENGINES.sqlite:
            return
        await asyncio.to_thread(SHOTS.mkdir, parents=True, exist_ok=True)
        for scheme in ("light", "dark"):
            await self.page.emulate_media(color_scheme=scheme)
            for size, (width, height) in SIZES.items():
                await self.page.set_viewport_size({"width": width, "height": height})
                await self.page.screenshot(path=SHOTS / f"{name}-{scheme}-{size}.png", full_page=True)
        await self.page.emulate_media(color_scheme="light")
        await self.page.set_viewport_size({"width": LEAST, "height": SIZES["narrow"][1]})
        assert await self.page.evaluate(TOO_WIDE) == [], f"{name} scrolls sideways"
        await self.page.set_viewport_size({"width": SIZES["wide"][0], "height": SIZES["wide"][1]})


@contextlib.asynccontextmanager
async def desk(browser: Browser, deployment: Deployment) -> AsyncIterator[Desk]:
    """Yield a page. Fails where it complained of anything."""
    context: BrowserContext = await browser.new_context(
        viewport={"width": SIZES["wide"][0], "height": SIZES["wide"][1]}, color_scheme="light"
    )
    context.set_default_timeout(PATIENCE * 1000)
    made = Desk(await context.new_page(), deployment)

    def heard(said: ConsoleMessage) -> None:
        if said.type in {"error", "warning"}:
            made.complaints.append(f"{said.text} ({said.location.get('url')})")

    made.page.on("console", heard)
    made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
    await made.page.add_init_script(VIOLATIONS)
    try:
        yield made
        assert made.complaints == [], made.complaints
    finally:
        await context.close()


def without(complaints: Sequence[str], *expected: str) -> list[str]:
    """Return the complaints but for those that a test has caused on purpose."""
    return [one for one in complaints if not any(text in one for text in expected)]
