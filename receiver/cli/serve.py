"""The command `ringback serve`."""

import asyncio
import contextlib
import ctypes
import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import click
import uvloop

from receiver import observability
from receiver.api import http_server
from receiver.api.server import SignalFree
from receiver.app import App, running
from receiver.cli.advice import advice
from receiver.cli.params import CONFIG, Whole
from receiver.config.load import Loaded, load
from receiver.domain.errors import Misconfigured, NotReady, cannot_listen
from receiver.observability import LOGGER
from receiver.store.postgres.url import is_postgres, without_password
from receiver.work.heartbeat import Role

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's `mallopt`."""
LARGE_BLOCK = 256 * 1024
"""Bytes from which a block is mapped by itself and given back to the system as soon as it is freed."""
KEPT_FREE = 4 * 1024 * 1024
"""Bytes of free memory at the end of the heap that are not given back to the system."""
MAY_PASS = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL})
"""Errors that may pass: the process before still drains, or the address comes up with its network."""
LINGER = 5.0
"""Seconds for which a stopping replica still answers while `/readyz` fails, until its proxy has noticed."""
MOST_FILES = 1 << 20
"""The limit of open files where the system sets none: a number that every current system accepts."""
GC_THRESHOLDS = (10_000, 20, 50)
"""Thresholds of the garbage collector. With Python's own 700 it runs several times for every batch of
callbacks and finds nothing; a run over as many as 50,000 objects takes 20 ms."""


@click.command()
@CONFIG
@click.option("--host", help="Where to listen; overrides the setting.")
@click.option("--port", type=Whole(0, 65535), help="Where to listen; 0 takes a free port.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.ALL.value,
    show_default=True,
    help="What this process does; others than `all` need PostgreSQL.",
)
def serve(config: Path | None, host: str | None, port: int | None, role: str) -> None:
    """Run the API and the workers in one process, or only one of the two with --role on PostgreSQL.

    With `--role worker` only `/healthz` and `/readyz` are answered.

    \b
    Example:
      RINGBACK_PROVIDERS__APIFRAME__API_KEY=... ringback serve --port 8080
    """
    loaded = load(config)
    if role != Role.ALL and not is_postgres(loaded.settings.database_url):
        raise click.UsageError("--role needs PostgreSQL: set database_url to postgresql://user@host/database")
    if host == "":
        raise click.BadParameter("must be an address; without it the setting holds", param_hint="--host")
    changes = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = loaded.settings.model_copy(update=changes)
    observability.set_up(settings.log_level, settings.log_format, loaded.secrets())
    more_files()
    give_back_memory()
    socket_ = _listen(settings.host, settings.port)
    settings = settings.model_copy(update={"port": socket_.getsockname()[1]})
    sys.exit(uvloop.run(_whole(replace(loaded, settings=settings), socket_, Role(role))))


def give_back_memory() -> None:
    """Make the C library return large blocks to the system as soon as they are freed.

    By default glibc raises its thresholds to the size of freed blocks: after one body of 20 MiB it would keep
    up to 40 MiB for later ones.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such setting
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
        mallopt(M_TRIM_THRESHOLD, KEPT_FREE)


def more_files() -> None:
    """Raise the limit of open files to the maximum: each socket is one, and 1,024 are soon used up."""
    # Outgoing calls may use half of them. Why: receiver/README.md#half-the-files-are-for-calls
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if most == resource.RLIM_INFINITY else most
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _listen(host: str, port: int) -> socket.socket:
    """Return the listening socket, bound before anything else so that a used port is reported at once.

    Raises `NotReady` when the fault may pass, and `Misconfigured` otherwise.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        setting = "port" if error.errno in {errno.EADDRINUSE, errno.EACCES} else "host"
        refused = NotReady if error.errno in MAY_PASS else Misconfigured
        raise refused(setting, cannot_listen(host, port, error)) from None
    except (ValueError, TypeError):
        raise Misconfigured("host", f"{host!r} is not a host name or address") from None
    return listening


async def _whole(loaded: Loaded, listening: socket.socket, role: Role) -> int:
    """Serve until a signal, which may also come during the start. Returns the exit code."""
    try:
        code = await _serve(loaded, listening, role)
    except asyncio.CancelledError:
        LOGGER.info("stopped before it served")
        code = 0
    leave_threads(code)
    return code


def leave_threads(code: int) -> None:
    """End the process at once if threads still run: one may wait long for a name server. All is stored."""
    others = [one for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if others:
        # A normal exit would wait for the threads. `os._exit` does not, and flushes nothing by itself.
        logging.shutdown()
        os._exit(code)


async def _serve(loaded: Loaded, listening: socket.socket, role: Role) -> int:
    """Serve until a signal or a fatal error. Returns the exit code."""
    failed: list[str] = []
    stopping: list[SignalFree] = []

    def give_up(reason: str) -> None:
        LOGGER.critical("stopping: %s", reason)
        failed.append(reason)
        for one in stopping:
            one.should_exit = True

    # Until the server exists, a signal cancels the start.
    _on_signals(_this_task().cancel)
    async with running(loaded, on_fatal=give_up, role=role) as app:
        settings = app.core.settings
        observability.name_replica(app.core.name)
        http = http_server(app.api, settings.host, settings.port, settings.shutdown_grace)
        stopping.append(http)
        _on_signals(_stop(http, app, role))
        # Objects made during the start live as long as the process, so the collector need not look
        # at them again. Why: receiver/README.md#the-garbage-collector
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        telling = asyncio.create_task(_tell(http, loaded, app))
        await http.serve(sockets=[listening])
        telling.cancel()
    return 1 if failed else 0


async def _tell(http: SignalFree, loaded: Loaded, app: App) -> None:
    """Log the address and the main settings, once the server accepts connections."""
    await http.up.wait()
    _say_what_is_served(loaded, app)
    if app.core.settings.public_url is None:
        LOGGER.info(
            "public_url is not set: jobs are polled; links in events begin with %s, those in answers with "
            "the address that was asked",
            app.core.settings.link_base,
        )


def _say_what_is_served(loaded: Loaded, app: App) -> None:
    """Log the settings that an operator looks for first, and a warning for each probable mistake."""
    settings = app.core.settings
    on = [name for name, setup in loaded.accounts.items() if setup.on]
    off = [name for name, setup in loaded.accounts.items() if not setup.on]
    LOGGER.info(
        "serving on http://%s:%s (version %s, config %s, database %s, accounts %s%s, public_url %s)",
        f"[{settings.host}]" if ":" in settings.host else settings.host,
        settings.port,
        version("ringback"),
        loaded.file or "none",
        without_password(settings.database_url),
        ", ".join(on) or "none",
        f", off: {', '.join(off)}" if off else "",
        settings.public_url or "none: every job is polled",
    )
    for one in advice(loaded, app.core.client.check):
        LOGGER.warning("%s: %s", one.setting, one.said)


def _this_task() -> "asyncio.Task[int]":
    found = asyncio.current_task()
    assert found is not None  # noqa: S101  # a coroutine of a running loop
    return found


def _stop(http: SignalFree, app: App, role: Role) -> Callable[[], None]:
    """Return the handler of signals.

    The first signal drains the service: `/readyz` fails, and running work gets the grace period. The second
    signal stops the service at once.
    """
    drains: list[asyncio.Task[None]] = []

    async def drain(linger: float) -> None:
        await asyncio.sleep(linger)
        await app.drain()
        http.stop(app.core.shutdown.time_left)

    def stop() -> None:
        grace = app.core.settings.shutdown_grace
        # On PostgreSQL a proxy moves requests to other replicas, once it has seen that this one is not ready.
        # A worker has no requests.
        lingers = app.core.store.shared and role is not Role.WORKER
        if drains:
            LOGGER.info("stopping at once")
            drains.pop().cancel()
            app.core.shutdown.hurry(0.0)
            http.force_exit = True
            drains.append(asyncio.get_running_loop().create_task(drain(0.0)))
        else:
            LOGGER.info("stopping: work in hand gets %s s", grace)
            app.core.shutdown.hurry(grace)
            linger = min(LINGER, grace / 2) if lingers else 0.0
            drains.append(asyncio.get_running_loop().create_task(drain(linger)))

    return stop


def _on_signals(stop: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(
        signal.SIGHUP, LOGGER.warning, "settings are read at start only; restart to change them"
    )
