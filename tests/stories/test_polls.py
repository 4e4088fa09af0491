"""Answers of a provider to a poll, and their effect on the job."""

from pathlib import Path

import pytest
from starlette.responses import JSONResponse

from tests.stories.deployment import deployed
from tests.stories.tools import SILENT, event_types, open_job


@pytest.mark.parametrize("code", [1026, 1027])
@pytest.mark.parametrize("provider", ["minimax", "gately"])
async def test_a_refusal_of_the_content_ends_the_job(tmp_path: Path, provider: str, code: int) -> None:
    async with deployed(tmp_path, SILENT, {"backstop_after": 0.1}) as deployment:
        job = await open_job(deployment, provider)
        said = {"status_code": code, "status_msg": "output sensitive"}
        task = {"task_id": job["provider_job_id"], "status": "", "file_id": "", "base_resp": said}
        deployment.front.app = JSONResponse(task)
        done = await deployment.final(job["id"])
        assert (done["state"], done["completed_by"]) == ("failed", "poll")
        assert done["error"] == {
            "code": "content_policy",
            "message": "output sensitive",
            "provider_code": str(code),
        }
        assert await event_types(deployment, job["id"]) == ["job.failed"]
