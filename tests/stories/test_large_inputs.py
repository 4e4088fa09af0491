"""Inputs that are stored in pieces while they wait: the provider receives them byte for byte."""

import functools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from receiver.store.inputs import IN_ROW, PIECE
from tests.stories.deployment import Deployment, asking, deployed
from tests.stories.tools import SILENT

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON = {"content-type": "application/json"}
OTHER = "b" * 40_000
FILE = "".join(f"{number:08x}" for number in range(IN_ROW // 4))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def deployment(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    """Yield one deployment for all tests."""
    async with deployed(tmp_path_factory.mktemp("large"), SILENT) as made:
        yield made


INPUTS: dict[str, dict[str, Any]] = {
    **{f"one file of {size}": {"file": FILE[:size]} for size in (IN_ROW - 200, IN_ROW, 6 * PIECE)},
    **{f"a text that ends {more} behind a piece": {"file": more, "other": OTHER} for more in range(-3, 4)},
    "many texts": {"files": [FILE[number : number + PIECE // 3] for number in range(30)]},
    "escapes": {"file": '"\\\n\u0000' * (IN_ROW // 8)},
    "other letters": {"file": "\u00e9\u4e2d\U0001f600" * (IN_ROW // 8)},
    "much that is short": {"words": [FILE[:30_000]] * 100},
}


async def test_a_large_input_is_submitted_as_it_was_asked_for(deployment: Deployment) -> None:
    made = {}
    for number, (name, given) in enumerate(INPUTS.items()):
        body = asking("apiframe", f"a tide, {name}")
        if isinstance(given.get("file"), int):
            before = len(json.dumps(body["input"] | {"file": ""}, separators=(",", ":"))) - 1
            given["file"] = FILE[: 5 * PIECE - before + given["file"]]
        body["input"] |= given
        spelled = json.dumps(body, ensure_ascii=number % 2 == 0).encode()
        answer = await deployment.client.post("/v1/jobs", content=spelled, headers=JSON)
        assert answer.status_code == 202, name
        made[name] = answer.json()["id"]
    for name, job in made.items():
        shown = await deployment.until(
            functools.partial(deployment.job, job), lambda told: told["provider_job_id"]
        )
        got = deployment.world.jobs[shown["provider_job_id"]].input
        assert {field: got[field] for field in INPUTS[name]} == INPUTS[name], name
