"""The examples of the client, loaded and served as a user would run them."""

import asyncio
import importlib.util
import sqlite3
import sys
import threading
import wsgiref.simple_server
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from django.urls import clear_url_caches

from receiver.cli.sandbox import listening
from ringback import Event

FOLDER = Path(__file__).parents[3] / "client" / "examples"
ASGI, WSGI = ("starlette_app", "fastapi_app"), ("flask_app", "django_app")


@dataclass
class Example:
    """A running example: its module, where it listens, its table, and the events on which it worked.

    Its work waits while `hold` is not set.
    """

    module: ModuleType
    inbox: Path
    url: str = ""
    worked: list[Event] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    async def post(self, delivery: tuple[bytes, dict[str, str]]) -> int:
        """Post a delivery. Returns the status of the answer."""
        body, given = delivery
        headers = [(name.encode(), value.encode("latin-1")) for name, value in given.items()]
        async with httpx.AsyncClient(timeout=60) as client:
            return (await client.post(f"{self.url}/hooks", content=body, headers=headers)).status_code

    def rows(self) -> list[tuple[str, int]]:
        """Return the id of every event in the table, and whether it is done."""
        with closing(sqlite3.connect(self.inbox)) as database:
            return database.execute("SELECT id, done FROM inbox ORDER BY rowid").fetchall()

    async def done(self, *ids: str) -> None:
        """Wait until these events, and no others, are in the table and done."""
        async with asyncio.timeout(60):
            while self.rows() != [(one, 1) for one in ids]:  # noqa: ASYNC110  # it looks into a database
                await asyncio.sleep(0.01)


def loaded(name: str, secret: str, inbox: Path) -> ModuleType:
    """Load an example under its variables. Returns the module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    clear_url_caches()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WEBHOOK_SECRET", secret)
        patch.setenv("INBOX", str(inbox))
        sys.modules[name] = module  # Django finds its views by the name of the module
        spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def running(name: str, secret: str, inbox: Path) -> AsyncIterator[Example]:
    """Serve an example on a socket. Yields it."""
    made = Example(loaded(name, secret, inbox), inbox)
    made.hold.set()
    work = made.module.work

    def watched(event: Event) -> None:
        made.hold.wait(60)
        made.worked.append(event)
        work(event)

    made.module.__dict__["work"] = watched
    async with AsyncExitStack() as stack:
        if name in ASGI:
            await stack.enter_async_context(made.module.app.router.lifespan_context(made.module.app))
            made.url = await stack.enter_async_context(listening(made.module.app))
        else:
            made.url = await stack.enter_async_context(
                wsgi(getattr(made.module, "application", None) or made.module.app)
            )
            stack.callback(made.module.later.shutdown)
        yield made
    del sys.modules[name]


class Silent(wsgiref.simple_server.WSGIRequestHandler):
    """A request handler that logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of http.server
        """Log nothing."""


@asynccontextmanager
async def wsgi(app: Any) -> AsyncIterator[str]:
    """Serve a WSGI application in a thread. Yields its URL."""
    with wsgiref.simple_server.make_server("127.0.0.1", 0, app, handler_class=Silent) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
