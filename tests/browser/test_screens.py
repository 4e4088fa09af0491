"""Every screen of the dashboard in a real browser: a person's way through it."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Route, expect

from receiver.sandbox.world import Knobs
from tests.browser.chromium import Desk, desk
from tests.node import packages
from tests.stories.deployment import Deployment, asking, deployed

# The rules of WCAG 2.2 AA and the best practices that axe knows.
EXAMINE = "() => axe.run(document, {resultTypes: ['violations']})"


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[Deployment]:
    """Yield a deployment with jobs that take a moment and deliveries that are retried by hand."""
    async with deployed(tmp_path, Knobs(takes=0.3), retry_schedule="[600]") as made:
        yield made


async def checked(page: Desk, name: str) -> None:
    """Take pictures of a screen, and let axe examine it in light and dark."""
    await page.picture(name)
    script = (packages() / "axe-core" / "axe.min.js").read_text("utf-8")
    for scheme in ("light", "dark"):
        await page.page.emulate_media(color_scheme=scheme)
        # Evaluated by the debugger, which the page's policy does not bind.
        await page.page.evaluate(script)
        found: dict[str, Any] = await page.page.evaluate(EXAMINE)
        told = [
            (one["id"], [node["target"] for node in one["nodes"]][:3], one["nodes"][0]["failureSummary"])
            for one in found["violations"]
        ]
        assert told == [], f"{name} in {scheme}: {json.dumps(told, indent=1)}"
    await page.page.emulate_media(color_scheme="light")


async def test_a_job_is_followed_live_from_submission_to_delivery(
    browser: Browser, deployment: Deployment
) -> None:
    async with desk(browser, deployment) as page:
        await page.page.goto(deployment.url)
        await page.page.get_by_label("API key").wait_for()
        await checked(page, "signin")
        await page.sign_in()
        await expect(page.page.get_by_role("heading", name="No jobs yet")).to_be_visible()
        await checked(page, "first")
        await deployment.subscribe("job.*")
        await page.go("jobs", "Jobs")
        await page.page.locator(".stream.live").wait_for()
        job = await deployment.submit(asking("apiframe", metadata={"order": "7"}))
        row = page.page.get_by_role("row").filter(has_text="apiframe")
        await expect(row.get_by_text("succeeded")).to_be_visible()
        await checked(page, "jobs")
        await row.get_by_role("link").click()
        await expect(page.page.get_by_text("as the provider's callback told")).to_be_visible()
        await expect(page.page.get_by_role("row").filter(has_text="attempt").first).to_be_visible()
        mark = page.page.locator(".waterfall .mark.good").first
        await mark.hover()
        await expect(mark).to_have_attribute("title", re.compile(r"^attempt at .+: 204 in "))
        assert job["id"] in await page.page.locator("main").inner_text()
        await page.page.get_by_text("Raw messages of the provider").click()
        await expect(page.page.locator("pre", has_text='"status":"finished"')).to_be_visible()
        assert (
            await page.page.locator("video").get_attribute("src")
            == re.sub(r"^http://[^/]+", "", (await deployment.job(job["id"]))["assets"][0]["url"])
            + "?download=1"
        )
        await checked(page, "job")
        await the_rest_is_seen(page)


async def the_rest_is_seen(page: Desk) -> None:
    """Look at the screens that show the history of a job."""
    await page.go("", "Overview")
    await expect(page.page.get_by_role("link", name="succeeded 1 last hour")).to_be_visible()
    await page.page.locator(".plot canvas").first.wait_for()
    await checked(page, "overview")
    await page.go("events", "Events")
    await page.page.get_by_role("link", name=re.compile("^evt_")).first.click()
    await expect(page.page.get_by_role("heading", name="Where it went")).to_be_visible()
    await expect(page.page.locator("main .state", has_text="delivered")).to_be_visible()
    await checked(page, "event")
    await page.go("events", "Events")
    await checked(page, "events")
    await page.go("providers", "Providers")
    await expect(page.page.get_by_role("row").filter(has_text="apiframe").first).to_be_visible()
    await checked(page, "providers")
    await page.go("sources", "Sources")
    await checked(page, "sources")


async def test_a_delivery_is_retried_and_an_endpoint_paused_and_replayed(
    browser: Browser, deployment: Deployment
) -> None:
    endpoint = await deployment.subscribe("job.succeeded")
    deployment.hook.status = 503
    job = await deployment.submit(asking("apiframe"))
    await deployment.final(job["id"])
    await deployment.until(lambda: deliveries(deployment), lambda found: found[0]["attempts_made"] == 1)
    async with desk(browser, deployment) as page:
        await page.sign_in()
        await page.go("deliveries", "Deliveries")
        await checked(page, "deliveries")
        await page.page.get_by_role("link", name=re.compile("^dlv_")).click()
        await page.page.get_by_role("button", name="Retry now").click()
        await expect(page.page.get_by_text("Not delivered: it was answered 503.")).to_be_visible()
        deployment.hook.status = 204
        await page.page.get_by_role("button", name="Retry now").click()
        await expect(page.page.get_by_text("Delivered: it was answered 204.")).to_be_visible()
        await expect(page.page.get_by_role("row")).to_have_count(4)
        await checked(page, "delivery")
        await page.go("endpoints", "Endpoints")
        await checked(page, "endpoints")
        await page.page.get_by_role("link", name=re.compile("^ep_")).click()
        await page.page.get_by_role("button", name="Send a test").click()
        await expect(page.page.get_by_text(re.compile("It answered the test with 204 in"))).to_be_visible()
        await page.page.get_by_role("button", name="Pause").click()
        await expect(page.page.get_by_text("It is paused: its deliveries wait.")).to_be_visible()
        await page.page.get_by_role("button", name="Resume").click()
        await expect(page.page.get_by_text("It takes deliveries again.")).to_be_visible()
        await replayed_and_explained(page, deployment.hook.about(job["id"])[0]["id"])
        await page.page.get_by_role("button", name="Rotate the secret").click()
        await page.page.get_by_role("dialog").get_by_role("button", name="Rotate the secret").click()
        await expect(page.page.get_by_text("The new secret: whsec_")).to_be_visible()
        await checked(page, "endpoint")
    shown = (await deployment.client.get(f"/v1/endpoints/{endpoint['id']}")).json()
    assert shown["state"] == "active"


async def replayed_and_explained(page: Desk, event_id: str) -> None:
    """Replay all events to the endpoint that is shown, and ask why one of them arrived."""
    await page.page.get_by_label("Which").select_option("all")
    await page.page.get_by_role("button", name="Count them").click()
    await expect(page.page.get_by_text("1 events would be sent again.")).to_be_visible()
    await page.page.get_by_role("button", name="Replay", exact=True).click()
    await expect(page.page.get_by_text("1 delivered, 0 failed")).to_be_visible()
    await page.page.get_by_label("Id of the event").fill(event_id)
    await page.page.get_by_role("button", name="Explain").click()
    await expect(page.page.get_by_text("Its delivery here: delivered. The endpoint takes it")).to_be_visible()


async def deliveries(deployment: Deployment) -> list[dict[str, Any]]:
    """Return the deliveries."""
    found: list[dict[str, Any]] = (await deployment.client.get("/v1/deliveries")).json()["data"]
    return found


async def test_an_unconfirmed_job_is_resolved_a_job_canceled_and_one_erased(
    browser: Browser, deployment: Deployment
) -> None:
    lost = await deployment.submit(asking("getimg", "lost-answer lost"))
    await deployment.in_state(lost["id"], "unconfirmed")
    deployment.world.knobs = Knobs(takes=1000)
    runs = await deployment.submit(asking("apiframe"))
    await deployment.in_state(runs["id"], "queued")
    async with desk(browser, deployment) as page:
        await page.sign_in()
        await page.page.get_by_role("link", name="unconfirmed 1 money at risk").click()
        await page.page.get_by_role("link", name=re.compile("^job_")).click()
        await expect(page.page.get_by_text("The answer to its submission was lost")).to_be_visible()
        await checked(page, "unconfirmed")
        await page.page.get_by_role("button", name="Give it up").click()
        await expect(page.page.get_by_text("it charges for a result that is not fetched")).to_be_visible()
        await page.page.get_by_role("dialog").get_by_role("button", name="Give it up").click()
        await expect(page.page.get_by_text("as an operator told")).to_be_visible()
        await page.page.get_by_role("button", name="Erase the job").click()
        await page.page.get_by_role("dialog").get_by_role("button", name="Erase the job").click()
        await page.page.get_by_role("heading", level=1, name="Jobs").wait_for()
        assert (await deployment.client.get(f"/v1/jobs/{lost['id']}")).status_code == 404
        await page.go(f"jobs/{runs['id']}", "Job")
        await page.page.get_by_role("button", name="Cancel the job").click()
        await page.page.get_by_role("dialog").get_by_role("button", name="No").click()
        assert (await deployment.job(runs["id"]))["completed_at"] is None
        await page.page.get_by_role("button", name="Cancel the job").click()
        await page.page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
        await expect(page.page.get_by_text("as a cancellation told")).to_be_visible()


async def test_a_key_is_created_used_and_revoked(browser: Browser, deployment: Deployment) -> None:
    async with desk(browser, deployment) as page, desk(browser, deployment) as other:
        await page.sign_in()
        await page.go("keys", "API keys")
        await page.page.get_by_label("Name").fill("reader")
        await page.page.get_by_label("jobs:read").check()
        await page.page.get_by_role("button", name="Create").click()
        key = await page.page.locator(".done code").inner_text()
        await checked(page, "keys")
        await other.sign_in(key)
        # Of what the key may not do nothing is offered.
        names = (
            await other.page.get_by_role("navigation", name="Screens").get_by_role("link").all_inner_texts()
        )
        assert names == ["Overview", "Jobs", "Providers"]
        await other.go("keys", "Keys")
        await expect(other.page.get_by_text("This needs a key with the scope admin.")).to_be_visible()
        job = await deployment.submit(asking("apiframe"))
        await other.go(f"jobs/{job['id']}", "Job")
        await expect(other.page.get_by_role("heading", name="Timeline")).to_be_visible()
        assert await other.page.get_by_role("region", name="Actions").count() == 0
        await page.page.get_by_role("button", name="Revoke").click()
        await page.page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await expect(page.page.get_by_text("It is revoked.")).to_be_visible()
        await other.page.reload()
        await other.page.get_by_label("API key").wait_for()
        other.complaints[:] = [one for one in other.complaints if "401" not in one]
        await page.page.get_by_role("button", name="Sign out").click()
        await page.page.get_by_label("API key").wait_for()


async def test_a_first_job_goes_to_the_sandbox_at_a_click(browser: Browser, deployment: Deployment) -> None:
    async with desk(browser, deployment) as page:
        await page.sign_in()
        await page.page.get_by_role("button", name="Submit a job to the sandbox (apiframe)").click()
        await expect(page.page.get_by_text("as the provider's callback told")).to_be_visible()
        assert page.page.url.startswith(f"{deployment.url}/#/jobs/job_")


async def test_without_an_answer_a_list_is_not_said_to_be_empty(
    browser: Browser, deployment: Deployment
) -> None:
    async with desk(browser, deployment) as page:
        await page.sign_in()
        for path, heading, pattern, none in (
            ("endpoints", "Endpoints", "**/v1/endpoints?**", "no endpoint yet"),
            ("keys", "API keys", "**/v1/keys?**", "no key but that of the settings"),
        ):
            await page.page.route(pattern, away)
            await page.go(path, heading)
            await expect(page.page.get_by_role("alert")).to_have_text("the service is away")
            await expect(page.page.get_by_text(none)).to_have_count(0)
            await page.page.unroute(pattern)
        # The browser itself reports each answer with an error.
        assert [one for one in page.complaints if "503" not in one] == []
        page.complaints.clear()


async def test_a_list_that_is_read_again_keeps_its_older_pages(
    browser: Browser, deployment: Deployment
) -> None:
    for _ in range(60):
        await deployment.submit(asking("aiml"))
    async with desk(browser, deployment) as page:
        await page.page.clock.install()
        await page.sign_in()
        await page.go("jobs", "Jobs")
        rows = page.page.get_by_role("row")
        await expect(rows).to_have_count(51)
        await page.page.get_by_role("button", name="Older").click()
        await expect(rows).to_have_count(61)
        async with page.page.expect_response("**/v1/jobs?*"):
            await page.page.clock.fast_forward(20_000)
        await expect(rows).to_have_count(61)
        await page.page.goto(f"{deployment.url}/#/jobs?evil=x")
        await expect(page.page.get_by_role("alert")).to_be_visible()
        await expect(rows).to_have_count(0)
        # The browser itself reports the refused question.
        assert [one for one in page.complaints if "422" not in one] == []
        page.complaints.clear()


async def test_a_key_is_offered_what_it_may_read_alone(browser: Browser, deployment: Deployment) -> None:
    made = await deployment.client.post("/v1/keys", json={"name": "n", "scopes": ["metrics:read"]})
    async with desk(browser, deployment) as page:
        await page.sign_in(made.json()["key"])
        tiles = page.page.get_by_role("region", name="Now")
        await expect(tiles.get_by_text("deliveries owed")).to_be_visible()
        await expect(tiles.get_by_role("link")).to_have_count(0)
        await expect(tiles.get_by_text("accounts blocked")).to_have_count(0)
        removed = await deployment.client.delete(f"/v1/keys/{made.json()['id']}")
        assert removed.status_code == 204
        # The next call of the page, and no timer of the session, shows the sign-in.
        await page.page.get_by_role("link", name="last day").click()
        await expect(page.page.get_by_label("API key")).to_be_visible()
        assert [one for one in page.complaints if "401" not in one] == []
        page.complaints.clear()


async def away(route: Route) -> None:
    """Answer for a service that is away."""
    await route.fulfill(status=503, json={"code": "unavailable", "detail": "the service is away"})


async def test_over_plain_http_a_text_is_copied_without_the_clipboard_of_browsers(
    browser: Browser, deployment: Deployment
) -> None:
    async with desk(browser, deployment) as page:
        await page.page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
        await page.page.add_init_script(
            "addEventListener('copy', () => { window.copied = document.activeElement.value; })"
        )
        await page.sign_in()
        await page.page.get_by_role("button", name="Copy the command").first.click()
        await expect(page.page.get_by_role("button", name="copied")).to_be_visible()
        assert "ringback endpoints create" in await page.page.evaluate("window.copied")
        await page.page.evaluate("document.execCommand = () => false")
        await page.page.get_by_role("button", name="Copy the command").last.click()
        await expect(page.page.get_by_role("button", name="not copied")).to_be_visible()


async def test_what_came_in_a_pause_is_there_when_the_list_goes_on(
    browser: Browser, deployment: Deployment
) -> None:
    async with desk(browser, deployment) as page:
        await page.sign_in()
        first = await deployment.submit(asking("apiframe"))
        await deployment.final(first["id"])
        for screen, heading, told in (("jobs", "Jobs", "succeeded"), ("events", "Events", "job.succeeded")):
            await page.go(screen, heading)
            await page.page.locator(".stream.live").wait_for()
            rows = page.page.get_by_role("row").filter(has_text=told)
            await expect(rows.first).to_be_visible()
            before = await rows.count()
            await page.page.get_by_role("button", name="Pause").click()
            job = await deployment.submit(asking("apiframe"))
            await deployment.final(job["id"])
            await page.page.get_by_role("button", name="Go on live").click()
            await expect(rows).to_have_count(before + 1)


async def test_what_did_not_go_out_looks_so_and_says_what_it_waits_for(
    browser: Browser, deployment: Deployment
) -> None:
    await deployment.subscribe("job.succeeded", state="paused")
    job = await deployment.submit(asking("apiframe"))
    await deployment.final(job["id"])
    async with desk(browser, deployment) as page:
        await page.sign_in()
        await page.go(f"jobs/{job['id']}", "Job")
        await expect(page.page.locator(".mark.delivery.pending")).to_have_count(1)
        await expect(page.page.locator(".mark.delivery.delivered")).to_have_count(0)
        await page.go("deliveries", "Deliveries")
        await page.page.get_by_role("link", name=re.compile("^dlv_")).click()
        await page.page.get_by_role("button", name="Retry now").click()
        says = page.page.get_by_text("It waits: its endpoint is paused. Resume it there.")
        await expect(says).to_be_visible(timeout=60_000)
        await page.go("jobs?metadata=word", "Jobs")
        await expect(page.page.get_by_text("Metadata: write key=value, both of them.")).to_be_visible()
        await expect(page.page.get_by_role("row")).to_have_count(0)
