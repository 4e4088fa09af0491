"""The command `ringback providers show`: the knowledge of this release about a provider."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

import handlers
from handlers.contract import Handler, Operation, Provider
from handlers.description import making, summary
from handlers.description.loading import BadDescription
from receiver.cli.groups import ALONE
from receiver.cli.output import formed, show_one
from receiver.cli.params import nearest

ENDING = ".toml"


def provider_named(name: str) -> Provider:
    """Return a shipped provider, or that of a description in a file. Raises `click.ClickException`."""
    if name.endswith(ENDING):
        try:
            return making.provider(Path(name))
        except BadDescription as error:
            raise click.ClickException(str(error)) from None
    found = handlers.ALL.get(name)
    if found is None:
        hint = nearest(name, handlers.ALL) or f"; there are {', '.join(handlers.ALL)}"
        raise click.UsageError(f"there is no provider {name!r}{hint}; a file ends in {ENDING}")
    return found


def configured(provider: Provider) -> Handler:
    """Return the handler of a provider with its default settings."""
    handler: Handler = provider.configure(provider.options())
    return handler


@click.command("show", epilog=ALONE)
@click.argument("name")
@click.option("--toml", is_flag=True, help="Print the description itself.")
@formed
def show(name: str, toml: bool) -> None:
    """Show a provider: operations, proofs, files, sources, how sure each fact is.

    NAME is a provider of this release, or the file of a description (.toml).

    \b
    Example:
      ringback providers show fal
      ringback providers show minimax --toml
      ringback providers show ./acme.toml --json
    """
    provider = provider_named(name)
    if toml:
        path = Path(name) if name.endswith(ENDING) else handlers.DESCRIBED / f"{name}{ENDING}"
        click.echo(path.read_text("utf-8"), nl=False)
        return
    show_one(dict(facts(provider, configured(provider))))


def facts(provider: Provider, handler: Handler) -> Iterable[tuple[str, Any]]:
    """Yield the facts about a provider by name."""
    known = provider.facts
    yield "name", provider.name
    yield "title", known.title
    yield "base_url", handler.base_url or None
    yield "operations", [_operation(name, one) for name, one in handler.operations.items()]
    yield "default_operation", handler.default_operation
    yield "example", dict(handler.example)
    yield "callbacks", known.proof
    yield "files", known.files
    yield (
        "can",
        [name for name in ("poll", "result", "cancel", "resolve") if getattr(handler, name) is not None],
    )
    yield "submits_again_safely", handler.idempotent_submit
    yield "reserved", sorted(handler.reserved)
    yield "rules", list(known.rules)
    yield "settings", [f"{name} {said}" for _, name, _, said in summary.settings(provider)]
    yield "confidence", {str(fact): sure for fact, sure in known.confidence.items()}
    yield "sources", list(known.sources)
    yield "checked", known.checked.isoformat()


def _operation(name: str, operation: Operation) -> str:
    kind = operation.kind.value if operation.kind else "any result"
    without = [word for word in ("callback", "poll") if not getattr(operation, word)]
    return f"{name}: {kind}{''.join(f', no {word}' for word in without)}"
