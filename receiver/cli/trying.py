"""The command `ringback providers try`: one real job at a provider, with every message shown."""

import asyncio
import json as stdjson
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

import click

from handlers import json
from handlers.contract import (
    AssetRef,
    Exchange,
    HttpMessage,
    HttpRequest,
    JobRef,
    Phase,
    Submission,
    Update,
)
from handlers.errors import ProviderError, Rejected, Unavailable, Unreachable
from handlers.values import immutable
from receiver.cli.groups import LOCAL
from receiver.cli.params import CONFIG, Real, read_input
from receiver.cli.terminal import say
from receiver.config.load import AccountSetup, Loaded, load
from receiver.config.startup import client_of
from receiver.domain.clock import Clock
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.providers.accounts import ANSWER_CAP, POLL, SUBMIT, account_of
from receiver.security.redaction import forms, hide

SHOWN = 4000
"""The most characters of a body that are shown."""
JOB = "job_try"
"""The id of the one job, for providers that take an id of ours."""


@immutable
class Trial:
    """One job at one account: its calls are shown, without the secrets of the account."""

    setup: AccountSetup
    client: HttpClient
    clock: Clock
    secrets: tuple[str, ...] = field(repr=False)
    tell: Callable[[str], None]

    async def ask(self, exchange: Exchange[Any, Any], subject: Any, *, fresh: bool = False) -> Any:
        """Send a request and return the reading of its answer. Raises `ProviderError`."""
        request = exchange.build(subject, account_of(self.setup))
        self._show_request(request)
        options = SUBMIT if fresh else POLL
        call = HttpCall(
            method=request.method,
            url=request.url(self.setup.base_url),
            headers=request.headers,
            body=request.body,
            timeout=options.timeout,
            cap=ANSWER_CAP,
            fresh=fresh,
        )
        try:
            answer = await self.client.call(call)
        except CallFailed as error:
            raise (Unavailable if error.written else Unreachable)(str(error)) from None
        message = HttpMessage(answer.status, answer.headers, answer.body, self.clock.outside())
        self._show_answer(message)
        return exchange.parse(message)

    def plain(self, value: Any) -> Any:
        """Return a value without the secrets of the account."""
        return hide(value, forms(self.secrets))

    def _show_request(self, request: HttpRequest) -> None:
        self.tell(self.plain(f"> {request.method} {request.url(self.setup.base_url)}"))
        for name, value in request.headers:
            self.tell(self.plain(f"> {name}: {value}"))
        if request.body:
            self._show_body(request.body)

    def _show_answer(self, message: HttpMessage) -> None:
        self.tell(f"< HTTP {message.status}")
        self._show_body(message.body)

    def _show_body(self, body: bytes) -> None:
        for line in self.plain(_shown(body)).splitlines():
            self.tell(line)


def _shown(body: bytes) -> str:
    """Return a body for people: JSON with indents, cut where it is long."""
    try:
        text = stdjson.dumps(json.forgive(body), ensure_ascii=False, indent=2)
    except json.BadJson:
        text = body.decode("utf-8", "replace")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}\n... {len(text) - SHOWN} characters more"


@click.command("try", epilog=LOCAL)
@click.argument("name")
@click.option(
    "--input", "given", callback=read_input, help="The input: JSON, @file or -; default: the example."
)
@click.option("--operation", help="What to make; default: the provider's first.")
@click.option("--seconds", type=Real(1, 86400), default=600, show_default=True, help="How long it may take.")
@click.option("--yes", is_flag=True, help="Do not ask: the job costs money.")
@CONFIG
def attempt(
    name: str,
    given: dict[str, Any] | None,
    operation: str | None,
    seconds: float,
    yes: bool,
    config: Path | None,
) -> None:
    """Run one real job at an account, and show every message without secrets.

    NAME is an account of the settings file. The job is submitted without a callback URL, polled until it
    ends, and its files are resolved. It is paid for like any other job.

    \b
    Example:
      ringback providers try fal --input '{"prompt": "a tide"}'
    """
    loaded = load(config)
    setup = loaded.accounts.get(name)
    if setup is None or not setup.on:
        known = ", ".join(one.name for one in loaded.accounts.values() if one.on) or "none"
        raise click.UsageError(f"there is no account {name!r} with an api_key; there are: {known}")
    chosen = operation or setup.handler.default_operation
    if chosen not in setup.handler.operations:
        raise click.UsageError(f"{name} has no operation {chosen!r}: {', '.join(setup.handler.operations)}")
    job = Submission(JOB, chosen, dict(setup.handler.example) if given is None else given)
    _refuse(setup, job)
    if not yes:
        click.confirm(f"submit {chosen} to {setup.base_url}? It is paid for", abort=True)
    if not asyncio.run(_bounded(setup, loaded, job, seconds)):
        raise click.ClickException("the job did not succeed")


def _refuse(setup: AccountSetup, job: Submission) -> None:
    """Raise `click.UsageError` for an input that the rules refuse; warnings are only shown."""
    problems = setup.handler.check(job)
    for one in problems:
        say(f"{'warning' if one.warning else 'error'}: input{one.pointer}: {one.detail}", err=True)
    if any(not one.warning for one in problems):
        raise click.UsageError("the input breaks a rule of the provider")


async def _bounded(setup: AccountSetup, loaded: Loaded, job: Submission, seconds: float) -> bool:
    # The client belongs to the event loop that runs.
    trial = Trial(setup, client_of(loaded.settings), Clock(), loaded.secrets(), say)
    try:
        async with asyncio.timeout(seconds):
            return await _run(trial, job)
    except TimeoutError:
        raise click.ClickException(
            f"not ended after {seconds:g} s; the job goes on at the provider"
        ) from None
    except ProviderError as error:
        raise click.ClickException(f"{type(error).__name__}: {trial.plain(str(error))}") from None
    finally:
        await trial.client.close()


async def _run(trial: Trial, job: Submission) -> bool:
    """Submit the job, poll it until it ends, and resolve its files. Returns whether it succeeded."""
    handler = trial.setup.handler
    update: Update = await trial.ask(handler.submit, job, fresh=True)
    _tell(trial, update)
    if not update.phase.final and handler.poll is not None and update.provider_job_id is not None:
        ref = JobRef(JOB, update.provider_job_id, job.operation, update.kept_url)
        update = await _polled(trial, ref)
    if update.provider_job_id is not None and isinstance(handler.resolve, Exchange):
        ref = JobRef(JOB, update.provider_job_id, job.operation, update.kept_url)
        for index, asset in enumerate(update.assets):
            if asset.source is not None:
                found = await trial.ask(handler.resolve, AssetRef(ref, index, asset.source))
                trial.tell(trial.plain(f"= file {index}: {found.url}"))
    return update.phase is Phase.SUCCEEDED and update.failure is None


async def _polled(trial: Trial, ref: JobRef) -> Update:
    """Poll until the job ends. Returns the last update; an answer that does not know the job is no end."""
    handler = trial.setup.handler
    pause = handler.cadence.first.total_seconds()
    while True:
        await asyncio.sleep(pause)
        pause = min(pause * handler.cadence.factor, handler.cadence.ceiling.total_seconds())
        try:
            update: Update = await trial.ask(handler.poll, ref)  # type: ignore[arg-type]  # checked by the caller
            if update.phase is Phase.SUCCEEDED and handler.result is not None:
                update = await trial.ask(handler.result, ref)
        except Rejected as error:
            trial.tell(trial.plain(f"= not known (yet): {error}"))
            continue
        _tell(trial, update)
        if update.phase.final:
            return update


def _tell(trial: Trial, update: Update) -> None:
    told: Mapping[str, Any] = {
        "phase": update.phase.value,
        "id": update.provider_job_id,
        "progress": update.progress,
        "files": [asset.url or asset.source or asset.mime_type for asset in update.assets],
        "failure": f"{update.failure.code}: {update.failure.message}" if update.failure else None,
        "usage": dict(update.usage) if update.usage else None,
    }
    for name, value in told.items():
        if value not in (None, []):
            trial.tell(trial.plain(f"= {name}: {value}"))
