"""Markup, scripts, terminal escapes and marks of direction in every text of strangers: shown, never run."""

from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, expect

from receiver.dashboard import load
from receiver.sandbox.world import Knobs
from tests.browser.chromium import Desk, desk
from tests.stories.deployment import Deployment, asking, deployed

MARKUP = (
    "<img src=x onerror=\"window.ran='img'\"><script>window.ran='script'</script>"
    "<svg onload=\"window.ran='svg'\"></svg><a href=\"javascript:window.ran='link'\">x</a>"
    "'\"><iframe srcdoc=\"<script>parent.ran='frame'</script>\">\x1b[31m\u202egnp.exe\u2066{{7*7}}"
)
CLEAN = MARKUP.partition("\x1b")[0]
"""The part of it that the API takes: it refuses control and format characters."""
FRAME = """(url) => {
    const frame = document.createElement("iframe");
    frame.src = url;
    document.body.append(frame);
}"""
"""A script that shows a URL in a frame."""
SCREENS = (
    "",
    "jobs",
    "jobs?state=failed",
    "deliveries",
    "endpoints",
    "providers",
    "events",
    "sources",
    "keys",
)


async def nothing_ran(page: Desk) -> None:
    """Assert that no script of a stranger ran and none of its elements is in the page."""
    assert await page.page.evaluate("() => window.ran === undefined")
    assert await page.page.locator("main iframe, main script, main svg, main img[src=x]").count() == 0
    assert await page.page.locator("a[href^='javascript:']").count() == 0
    assert await page.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth + 1")


async def filled(deployment: Deployment) -> dict[str, Any]:
    """Put markup into every text that strangers may send. Returns a job with it."""
    deployment.hook.answers = [(500, {"x": "y"})]
    await deployment.subscribe("job.*", description=CLEAN[:200])
    job = await deployment.submit(asking("apiframe", metadata={"order": CLEAN, "<b>k</b>": "v"}))
    queued = await deployment.in_state(job["id"], "queued")
    url, secret = deployment.callback(job)
    body = {"task_id": queued["provider_job_id"], "status": "failed", "error": f"{MARKUP}{'x' * 500_000}"}
    async with httpx.AsyncClient() as provider:
        answer = await provider.post(url, json=body, headers={"x-webhook-secret": secret})
    assert answer.status_code == 200
    await deployment.final(job["id"])
    await deployment.client.post(
        "/v1/keys", json={"name": "<script>window.ran='key'</script>", "scopes": ["jobs:read"]}
    )
    return await deployment.job(job["id"])


async def test_no_text_of_a_stranger_runs(browser: Browser, tmp_path: Path) -> None:
    async with deployed(tmp_path, Knobs(takes=1000), retry_schedule="[600]") as deployment:
        job = await filled(deployment)
        async with desk(browser, deployment) as page:
            await page.sign_in()
            for screen in SCREENS:
                await page.page.goto(f"{deployment.url}/#/{screen}")
                await page.page.get_by_role("heading", level=1).wait_for()
                await page.page.locator("main table, main .empty, main .tiles").first.wait_for()
                await nothing_ran(page)
            await page.go(f"jobs/{job['id']}", "Job")
            await expect(page.page.get_by_role("heading", name="Timeline")).to_be_visible()
            shown = await page.page.locator("main").inner_text()
            assert "<img src=x onerror=" in shown
            assert not {"\x1b", "\u202e", "\u2066"} & set(shown)
            assert len(shown) < 100_000, "long texts are cut"
            await nothing_ran(page)
            event = (await deployment.client.get("/v1/events", params={"job": job["id"]})).json()["data"][-1]
            await page.go(f"events/{event['id']}", "Event")
            await nothing_ran(page)
            delivery = (await deployment.client.get("/v1/deliveries")).json()["data"][0]
            await page.go(f"deliveries/{delivery['id']}", "Delivery")
            await nothing_ran(page)
            # Nor does an address that somebody was sent.
            for place in (
                "jobs/%3Cscript%3E",
                "<img src=x onerror=alert(1)>",
                "jobs?metadata=%3Cscript%3E%3D1",
                "%E0%A4%A",
            ):
                await page.page.goto(f"{deployment.url}/#/{place}")
                await page.page.get_by_role("heading", level=1).wait_for()
                await nothing_ran(page)
            page.complaints[:] = [one for one in page.complaints if "404" not in one]


async def test_characters_that_act_on_their_surroundings_are_shown_as_codes(
    browser: Browser,
    tmp_path: Path,
) -> None:
    async with deployed(tmp_path) as deployment, desk(browser, deployment) as page:
        await page.sign_in()
        base = "/".join(next(iter(load().files)).split("/")[:3])
        plain = "async ([path, text]) => (await import(path)).plain(text, 40)"
        for text, shown in (
            ("\x1b[31m\u202egnp.exe\u2066", "\\u001b[31m\\u202egnp.exe\\u2066"),
            ("a\u200bb\ufeffc\x00", "a\\u200bb\\ufeffc\\u0000"),
            ("x" * 1_000_000, "x" * 40 + "… (1,000,000 characters)"),
            ("два\nlines\t", "два\nlines\t"),
        ):
            assert await page.page.evaluate(plain, [f"{base}/format.js", text]) == shown


async def test_a_frame_of_another_page_shows_nothing(browser: Browser, tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment, desk(browser, deployment) as page:
        await page.sign_in()
        # A page of another origin: another name of the same machine.
        await page.page.goto(deployment.url.replace("127.0.0.1", "localhost") + "/healthz")
        await page.page.evaluate(FRAME, deployment.url)
        await page.page.wait_for_function("() => frames.length === 1")
        inside = page.page.frames[1]
        await inside.wait_for_load_state()
        assert await inside.locator("#app").count() == 0
        assert any("frame-ancestors" in one for one in page.complaints)
        page.complaints.clear()
