"""Private names of uvicorn that the server relies on: a release that drops one fails here, with its name."""

import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

HERE = Path(__file__).parents[1]
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text("utf-8"))["project"]
OVERRIDDEN = {
    HttpToolsProtocol: {
        "connection_made": ["transport"],
        "connection_lost": ["exc"],
        "eof_received": [],
        "data_received": ["data"],
        "pause_writing": [],
        "resume_writing": [],
        "on_message_begin": [],
        "on_header": ["name", "value"],
        "on_headers_complete": [],
        "on_body": ["body"],
        "on_message_complete": [],
        "timeout_keep_alive_handler": [],
        "shutdown": [],
        "_start_asgi_task": ["cycle", "app"],
    },
    Server: {"startup": ["sockets"], "main_loop": [], "on_tick": ["counter"], "capture_signals": []},
}
"""The methods that `receiver/api/server.py` overrides or calls, with their parameters."""
USED = (
    "parser",
    "url",
    "headers",
    "expect_100_continue",
    "scope",
    "cycle",
    "tasks",
    "flow",
    "transport",
    "loop",
)
"""The attributes of a connection that it reads or sets."""
CYCLE = ("body", "disconnected", "keep_alive", "more_body", "message_event", "response_complete")
"""The attributes of a request that `receiver/api/fast_path.py` stands in for."""
HINT = (
    "receiver/api/server.py builds on it: adapt that file to this uvicorn, or lower the cap in pyproject.toml"
)


def test_uvicorn_is_capped_at_the_release_that_was_tried() -> None:
    [requirement] = [one for one in PROJECT["dependencies"] if one.startswith("uvicorn")]
    lowest, cap = requirement.removeprefix("uvicorn>=").split(",<")
    installed = [int(part) for part in version("uvicorn").split(".")[:2]]
    assert [int(part) for part in lowest.split(".")] <= installed < [int(part) for part in cap.split(".")]
    assert [int(part) for part in cap.split(".")] == [installed[0], installed[1] + 1]


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in OVERRIDDEN.items() for name in names]
)
def test_a_method_that_is_overridden_is_there(owner: type, name: str) -> None:
    method = getattr(owner, name, None)
    assert method is not None, f"uvicorn {version('uvicorn')} has no {owner.__name__}.{name}; {HINT}"
    expected = ["self", *OVERRIDDEN[owner][name]]
    assert list(inspect.signature(method).parameters) == expected, f"{owner.__name__}.{name}: {HINT}"


async def test_a_connection_has_the_attributes_that_are_used() -> None:
    async def app(_scope: object, _receive: object, _send: object) -> None:
        return None

    config = uvicorn.Config(app, lifespan="off", log_config=None)
    config.load()
    connection = HttpToolsProtocol(config, ServerState(), {})
    connection.on_message_begin()
    missing = [name for name in USED if not hasattr(connection, name)]
    assert not missing, f"uvicorn {version('uvicorn')}: a connection has no {', '.join(missing)}; {HINT}"


def test_a_request_has_the_attributes_that_the_fast_path_stands_in_for() -> None:
    source = inspect.getsource(RequestResponseCycle)
    missing = [name for name in CYCLE if f"self.{name}" not in source]
    assert not missing, f"uvicorn {version('uvicorn')}: a request has no {', '.join(missing)}; {HINT}"


def test_status_lines_are_bytes_by_status() -> None:
    assert httptools_impl.STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
