"""The command `ringback doctor`: checks a deployment and names the fix of each fault."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path

import click
from rich.console import Console

from handlers.contract import JobRef
from handlers.errors import AccountRefused, ProviderError, Throttled, Unavailable, Unreachable
from handlers.values import immutable
from receiver.cli.advice import advice
from receiver.cli.output import print_json, table
from receiver.cli.own_service import say_whose_settings
from receiver.cli.params import CONFIG
from receiver.cli.service import ANY_HOST
from receiver.cli.terminal import say
from receiver.config.key_files import read_masters
from receiver.config.load import AccountSetup, Loaded, load
from receiver.config.startup import client_of, data_dir, master_keys_of
from receiver.domain.clock import Clock
from receiver.domain.errors import Misconfigured, ReceiverError
from receiver.egress.client import CallFailed, HttpCall, HttpClient
from receiver.providers.accounts import POLL, Accounts
from receiver.security.tokens import MasterKeys
from receiver.store import database_path, open_driver
from receiver.store.lost_deliveries import LostDelivery
from receiver.store.lost_deliveries import list_all as taken
from receiver.store.migrations import Migration
from receiver.store.postgres.url import is_postgres
from receiver.store.reencryption import kids
from receiver.store.sqlite.check import (
    FIXED,
    SOUND,
    engine,
    losses,
    needed_keys,
    quick_check,
    waiting,
)
from receiver.store.statements import moment

GOOD, ODD, BAD = "ok", "warn", "wrong"
"""The grades of a finding. Only `BAD` makes the command fail."""
SKEW = 60.0
"""Seconds by which a provider's `Date` may differ from this machine's clock."""
MEND_KEY = "correct its api_key and restart the service, or see to its credit and plan"
MEND_WAY = "correct its base_url and restart the service, or see to this machine's network and name servers"
"""The fixes when a provider refuses the key, and when its address does not answer."""


@immutable
class Finding:
    """The result of one check.

    `what` names the check, `how` is the grade, `said` is a sentence for people.
    """

    what: str
    how: str
    said: str


@click.command()
@CONFIG
@click.option("--offline", is_flag=True, help="Do not call providers or the public URL.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(config: Path | None, offline: bool, as_json: bool) -> None:
    """Check settings, database, clock, public URL, egress guard and provider keys.

    Every check is `ok`, `warn` or `wrong`; the exit code is 1 when one is wrong. A provider's key is checked
    by asking for a job that does not exist, which costs nothing.

    \b
    Example:
      ringback doctor
      ringback doctor --json --offline
    """
    loaded = load(config)
    say_whose_settings()
    with Console(stderr=True).status("checking"):
        findings = asyncio.run(_look(loaded, offline=offline))
    rows = [{"grade": one.how, "check": one.what, "finding": one.said} for one in findings]
    if as_json:
        print_json({"data": rows})
    else:
        table(rows, ("grade", "check", "finding"))
    if any(one.how == BAD for one in findings):
        raise click.exceptions.Exit(1)


async def _look(loaded: Loaded, *, offline: bool) -> list[Finding]:
    settings = loaded.settings
    client = client_of(settings)
    findings = [Finding("settings", GOOD, f"{len(loaded.origins)} set, the rest by default")]
    url, migrates = settings.database_url, settings.migrate_on_start
    findings += [*_keys(loaded, await _needed(url)), *await examined(url, migrates=migrates), *_guard(loaded)]
    # Without any account, the finding `accounts` below says the same as the advice on `providers`.
    advised = [one for one in advice(loaded, client.check) if loaded.accounts or one.setting != "providers"]
    findings += [Finding(one.setting, ODD, one.said) for one in advised]
    checks: list[Callable[[], Awaitable[Finding]]] = []
    if not offline:
        checks.append(lambda: _public_url(loaded, client))
    for setup in loaded.accounts.values():
        if not setup.on:
            findings.append(Finding(f"account {setup.name}", ODD, "off: it has no api_key"))
        elif not offline:
            # `setup=setup` binds the account of this turn of the loop.
            checks.append(lambda setup=setup: _account(loaded, setup, client))  # type: ignore[misc]  # bound now
    if not loaded.accounts:
        grade = ODD if loaded.sources else BAD
        said = "none, so no job can be submitted; set providers.<account>.api_key"
        findings.append(Finding("accounts", grade, said))
    findings += await asyncio.gather(*(check() for check in checks))
    await client.close()
    return findings


def _keys(loaded: Loaded, needed: set[str]) -> Iterator[Finding]:
    """Yield the findings about the master keys; stored secrets need those with the ids `needed`."""
    settings = loaded.settings
    try:
        of_files = not settings.secret_keys and not is_postgres(settings.database_url)
        if of_files and not needed and not read_masters(data_dir(settings)):
            yield Finding("master keys", GOOD, "one will be made at the first start")
            return
        master_keys = master_keys_of(settings, Clock(), needed)
    except Misconfigured as error:
        yield Finding("master keys", BAD, str(error))
        return
    if missing := sorted(needed - set(master_keys.kids)):
        yield Finding(
            "master keys", BAD, f"stored secrets need the key {missing[0]}, which is not configured"
        )
    else:
        yield Finding("master keys", GOOD, f"{len(master_keys.kids)}, the newest is {master_keys.newest}")
    if settings.secret_keys:
        return
    folder = data_dir(settings)
    loose = [path.name for path in folder.glob("ringback-*") if path.stat().st_mode & 0o077]
    if loose:
        yield Finding("data_dir", BAD, f"others can read {', '.join(loose)}; chmod 600")


async def _needed(url: str) -> set[str]:
    """Return the ids of the master keys that a database needs; none where it cannot be read."""
    if not is_postgres(url):
        return needed_keys(database_path(url))
    driver = open_driver(url, on_fatal=say)
    try:
        await driver.open()
        try:
            return set() if await driver.pending() else await driver.read(kids())
        finally:
            await driver.close()
    except (ReceiverError, Misconfigured):
        return set()


async def examined(url: str, *, migrates: bool = True) -> list[Finding]:
    """Return the findings about a database: its state, and the deliveries that it lost.

    `migrates` is the setting `migrate_on_start`.
    """
    if is_postgres(url):
        return await _server(url, migrates=migrates)
    return list(_file(database_path(url), migrates=migrates))


def _schema(pending: Sequence[Migration], *, migrates: bool) -> tuple[str, str]:
    """Return the grade of pending migrations, and a sentence about them."""
    if not pending:
        return GOOD, "up to date"
    if migrates:
        return GOOD, f"{len(pending)} migration(s) wait for the next start"
    return BAD, f"{len(pending)} migration(s) wait and migrate_on_start is off; run `ringback migrate`"


async def _server(url: str, *, migrates: bool) -> list[Finding]:
    driver = open_driver(url, on_fatal=say)
    try:
        await driver.open()
        try:
            # A database with pending migrations may not have the table of lost deliveries yet.
            pending, skew = await driver.pending(), await driver.skew()
            lost = [] if pending else await driver.read(taken())
        finally:
            await driver.close()
    except (ReceiverError, Misconfigured) as error:
        return [Finding("database", BAD, str(error))]
    grade, waits = _schema(pending, migrates=migrates)
    said = f"answers, {waits}; its clock is {skew.total_seconds():+.3f} s from ours"
    return [Finding("database", grade, said), *map(_loss, lost)]


def _loss(lost: LostDelivery) -> Finding:
    last = moment(lost.last_at).date()
    return Finding(
        f"endpoint {lost.target}", ODD, f"lost {lost.count} deliveries until {last}: {lost.reason}"
    )


def _file(path: Path, *, migrates: bool) -> Iterator[Finding]:
    if engine() < FIXED:
        yield Finding(
            "SQLite",
            ODD,
            f"{_dotted(engine())}; older than {_dotted(FIXED)}, which fixes a bug with two writing "
            "connections: let no other program write this file, or run a Python with a newer one",
        )
    if not path.exists():
        made = Finding("database", GOOD, f"{path} will be made at the first start")
        folder = Finding("database", BAD, f"the folder {path.parent} does not exist; make it")
        yield made if path.parent.is_dir() else folder
        return
    grade, said = (GOOD, found) if (found := quick_check(path)) == SOUND else (BAD, found)
    if grade == GOOD:
        try:
            grade, waits = _schema(waiting(path), migrates=migrates)
            said = f"{found}, {waits}"
        except Misconfigured as error:
            grade, said = BAD, error.problem
    yield Finding("database", grade, f"{path}: {said}")
    yield from map(_loss, losses(path))


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _guard(loaded: Loaded) -> Iterator[Finding]:
    allow, hosts = loaded.settings.egress_allow, loaded.settings.egress_allow_hosts
    if allow:
        yield Finding("egress guard", ODD, f"private networks are open: {', '.join(allow)}")
    if hosts:
        yield Finding("egress guard", ODD, f"names may lead to private networks: {', '.join(hosts)}")
    if not (allow or hosts):
        yield Finding("egress guard", GOOD, "only public addresses can be called")


async def _public_url(loaded: Loaded, client: HttpClient) -> Finding:
    url = loaded.settings.public_url
    if url is None:
        return Finding("public_url", ODD, "none: no callback URL is sent, every job is polled")
    try:
        answer = await client.call(HttpCall(method="GET", url=f"{url}/healthz", timeout=10))
    except CallFailed as error:
        trouble = f"{url} does not answer ({error}); is the service up and routed?"
    else:
        if answer.status == 200 and b'"ok"' in answer.body:
            return Finding("public_url", GOOD, f"{url} reaches this service")
        trouble = f"{url}/healthz answers {answer.status}: something else serves it"
    settings = loaded.settings
    # While the service is not started, a failure of the public URL proves nothing.
    if await _serves(settings.host, settings.port):
        return Finding("public_url", BAD, trouble)
    return Finding(
        "public_url",
        ODD,
        f"not checked: nothing serves yet on {settings.host}, port {settings.port}; "
        f"start `ringback serve`, then check again ({url})",
    )


async def _serves(host: str, port: int) -> bool:
    """Return whether a process accepts connections at the address that the service would use."""
    try:
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(ANY_HOST.get(host, host), port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _account(loaded: Loaded, setup: AccountSetup, client: HttpClient) -> Finding:
    check, clock = f"account {setup.name}", Clock()
    # A random master key will do: the call is about a job that does not exist.
    nobodys = MasterKeys([clock.entropy(32).hex()], clock.entropy)
    accounts = Accounts(loaded.accounts, client, nobodys, clock, None, lambda _account, _what: None)
    if setup.handler.poll is None:
        return Finding(check, ODD, "cannot be checked: it has nothing to ask")
    nobody = JobRef("job_doctor", "ringback-doctor-0", setup.handler.default_operation)
    try:
        _, message = await accounts.ask(setup, setup.handler.poll, nobody, POLL)
    except AccountRefused as error:
        return Finding(check, BAD, f"the provider refuses the key: {error.said or error.status}; {MEND_KEY}")
    except (Unreachable, Unavailable) as error:
        return Finding(
            check, BAD, f"{setup.base_url} does not answer: {error.said or error.status}; {MEND_WAY}"
        )
    except Throttled:
        return Finding(check, ODD, "the provider asks us to slow down")
    except ProviderError:
        # Any other error means that the key was accepted and that the job is unknown, as expected.
        return Finding(check, GOOD, "answers, and takes the key")
    return _clock_of(check, message.headers)


def _clock_of(check: str, headers: tuple[tuple[str, str], ...]) -> Finding:
    date = next((value for name, value in headers if name == "date"), None)
    try:
        skew = abs(parsedate_to_datetime(date).timestamp() - time.time()) if date else 0.0
    except ValueError:
        skew = 0.0
    if skew > SKEW:
        return Finding(
            check, BAD, f"answers, but its clock and ours differ by {skew:.0f} s: set this machine's"
        )
    return Finding(check, GOOD, "answers, and takes the key")
