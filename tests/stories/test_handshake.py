"""Endpoints with a receiver that is asked first, as CloudEvents do."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from receiver.cli.sandbox import listening
from tests.stories.command_line import asked as commanded
from tests.stories.deployment import Deployment
from tests.stories.tools import asked, problem


class Gatekeeper:
    """A receiver that answers OPTIONS with these headers."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method == "OPTIONS":
            self.asked.append(request.headers["webhook-request-origin"])
            await Response(headers=self.headers)(scope, receive, send)
        else:
            await Response(status_code=204)(scope, receive, send)


async def test_an_endpoint_is_created_once_its_receiver_agrees(deployment: Deployment) -> None:
    gate = Gatekeeper()
    async with listening(gate) as url:
        body = {"url": url, "format": "cloudevents", "handshake": True}
        told = problem(await deployment.client.post("/v1/endpoints", json=body), 422, "validation")
        [error] = told["errors"]
        assert error["pointer"] == "/url"
        assert "without webhook-allowed-origin" in error["detail"]
        assert (await asked(deployment, "GET", "/v1/endpoints"))["data"] == []
        gate.headers = {"webhook-allowed-origin": "127.0.0.1", "webhook-allowed-rate": "120"}
        made = await asked(deployment, "POST", "/v1/endpoints", 201, json=body)
        assert made["rate_limit"] == 2.0
        assert "handshake" not in made
        assert gate.asked == ["127.0.0.1"] * 2
        # The lower rate counts, whichever side wants it, and without the option no receiver is asked.
        lower = await asked(deployment, "POST", "/v1/endpoints", 201, json={**body, "rate_limit": 0.5})
        free = await asked(deployment, "POST", "/v1/endpoints", 201, json={**body, "handshake": False})
        assert (lower["rate_limit"], free["rate_limit"], len(gate.asked)) == (0.5, None, 3)
        path = f"/v1/endpoints/{free['id']}"
        changed = await asked(deployment, "PATCH", path, json={"handshake": True})
        assert (changed["rate_limit"], len(gate.asked)) == (2.0, 4)
        gate.headers = {}
        problem(await deployment.client.patch(path, json={"handshake": True}), 422, "validation")
        said = await commanded(deployment, "endpoints", "create", url, "--handshake")
        assert (said.code, said.out) == (1, "")
        assert "without webhook-allowed-origin" in said.err


async def test_a_receiver_that_may_not_be_called_is_not_asked(deployment: Deployment) -> None:
    body = {"url": "http://169.254.169.254/latest", "handshake": True}
    [error] = problem(await deployment.client.post("/v1/endpoints", json=body), 422, "validation")["errors"]
    assert error["pointer"] == "/url"
    assert "OPTIONS" not in error["detail"]
