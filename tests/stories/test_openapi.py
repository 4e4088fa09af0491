"""`schemathesis` against a live service: no 5xx, and no response that the description lacks."""

import asyncio
import os
import sys
from pathlib import Path

from receiver.api.webhooks import Webhook
from receiver.domain.event_types import TYPES
from tests.stories.deployment import KEY, PATIENCE, Deployment, asking

HERE = Path(__file__).parents[2]
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection"
)


async def test_every_call_answers_as_described(deployment: Deployment) -> None:
    await deployment.subscribe("job.*")
    job = await deployment.submit(asking("apiframe"))
    await deployment.final(job["id"])
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{deployment.url}/openapi.json",
        "--header",
        f"Authorization: Bearer {KEY}",
        "--checks",
        CHECKS,
        "--max-examples",
        "12",
        "--seed",
        "1",
        "--request-timeout",
        str(PATIENCE),
        "--no-color",
        "--exclude-path-regex",
        "^/v1/endpoints/.*/test$|^/v1/events/stream$",  # a ping waits for its answer, a stream has no end
        cwd=deployment.folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.stories.short_waits", "PYTHONPATH": str(HERE)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await running.communicate()
    assert running.returncode == 0, told.decode()[-6000:]


async def test_what_is_delivered_is_what_the_description_says(deployment: Deployment) -> None:
    endpoint = await deployment.subscribe(*TYPES)
    job = await deployment.submit(asking("apiframe"))
    await deployment.delivered(job["id"], "job.succeeded")
    answer = await deployment.client.post(f"/v1/endpoints/{endpoint['id']}/test")
    assert answer.status_code == 200, answer.text
    announced = [Webhook.model_validate_json(body).root for _, body in deployment.hook.deliveries]
    assert {"job.succeeded", "endpoint.test"} <= {one.type for one in announced}


async def test_a_client_is_generated_from_the_document(deployment: Deployment) -> None:
    document = deployment.folder / "openapi.json"
    document.write_bytes((await deployment.client.get("/openapi.json")).content)
    config = deployment.folder / "generator.yaml"
    config.write_text("post_hooks: []\npackage_name_override: made_client\n")
    generating = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("openapi-python-client"),
        "generate",
        "--path",
        str(document),
        "--config",
        str(config),
        "--meta",
        "none",
        "--fail-on-warning",
        "--output-path",
        str(deployment.folder / "made_client"),
        cwd=deployment.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await generating.communicate()
    assert generating.returncode == 0, told.decode()[-6000:]
    program = (
        "import sys; from made_client import AuthenticatedClient; "
        "from made_client.api.jobs import get_v1_jobs; "
        f"client = AuthenticatedClient({deployment.url!r}, {KEY!r}); "
        "print(type(get_v1_jobs.sync(client=client)).__name__)"
    )
    using = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=deployment.folder, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await using.communicate()
    assert (using.returncode, said.decode().strip()) == (0, "GetV1JobsResponse200")
