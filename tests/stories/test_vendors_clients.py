"""The vendors' own clients: each completes a job against the sandbox, which has the shapes of the vendor."""

import asyncio
import warnings

from getimg import GetimgAI

from receiver.cli.sandbox import listening, world
from receiver.sandbox.app import application
from receiver.sandbox.world import Knobs

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from apiframe import Apiframe


def _apiframe(url: str) -> dict[str, object]:
    with Apiframe(api_key="k", base_url=f"{url}/apiframe") as client:
        assert client.tasks.get_account_info()["plan"]
        task = client.midjourney.imagine({"prompt": "a tide"})
        found: dict[str, object] = client.tasks.wait_for(task["id"], interval=0)
        return found


def _getimg(url: str) -> list[str]:
    client = GetimgAI(api_key="k", base_url=f"{url}/getimg", max_retries=0)
    image = client.images.generate(model="m", prompt="a tide")
    started = client.videos.generations.create(model="m", prompt="a tide")
    while (video := client.videos.generations.retrieve(started.id)).status == "pending":
        pass
    assert video.status == "completed"
    return [image.data[0].url, video.data[0].url]


async def test_apiframe_sdk() -> None:
    async with world(Knobs(takes=0.2)) as made, listening(application(made)) as url:
        task = await asyncio.to_thread(_apiframe, url)
    assert task["status"] == "completed"
    assert len(task["image_urls"]) == 4  # type: ignore[arg-type]  # a list, by the sandbox


async def test_getimg() -> None:
    async with world(Knobs(takes=0.2)) as made, listening(application(made)) as url:
        links = await asyncio.to_thread(_getimg, url)
    assert all("exp=" in link for link in links)
