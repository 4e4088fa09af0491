"""The providers of accounts: shipped ones by name, and descriptions in files of the operator."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import handlers
from handlers.contract import Handler, Provider
from handlers.description import making
from handlers.description.loading import BadDescription
from receiver.domain.errors import Misconfigured, did_you_mean
from receiver.domain.statistics import OTHER


def provider_of(name: str, account: Mapping[str, Any], place: str = "") -> Provider:
    """Return the provider of an account by its `description`, its `handler` or its name.

    Raises `Misconfigured` at `place` in the settings, which is that of the account unless it is given.
    """
    place, path, named = place or f"providers.{name}", account.get("description"), account.get("handler")
    if path:
        if named:
            raise Misconfigured(f"{place}.description", "stands beside handler; set one of the two")
        if not isinstance(path, str | Path):
            raise Misconfigured(f"{place}.description", "must be text: the path of a file")
        try:
            return making.provider(Path(path))
        except BadDescription as error:
            raise Misconfigured(f"{place}.description", str(error)) from None
    return shipped(str(named or name), f"{place}.handler")


def operation_label(handler: Handler, operation: str) -> str:
    """Return the name under which an operation is counted: `other` where users choose its name freely."""
    return operation if operation in handler.named else OTHER


def options_of(name: str, account: Mapping[str, Any]) -> Sequence[str]:
    """Return the settings that an account's handler takes; none of an unknown one, which is told later."""
    try:
        return list(provider_of(name, account).options.model_fields)
    except Misconfigured:
        return ()


def shipped(name: str, place: str) -> Provider:
    """Return a shipped provider. Raises `Misconfigured` at `place` for an unknown name."""
    provider = handlers.ALL.get(name)
    if provider is None:
        known = ", ".join(handlers.ALL) + did_you_mean(name, handlers.ALL)
        raise Misconfigured(place, f"no handler {name!r}; known: {known}")
    return provider
