"""The readers of sources: the callbacks of the handlers that their settings name."""

from collections.abc import Callable

from pydantic import ValidationError

from handlers.contract import HttpMessage, Update
from receiver.config.provider_handlers import provider_of
from receiver.config.sources import SourceSettings
from receiver.domain.errors import Misconfigured

Read = Callable[[HttpMessage], Update]
"""A reader of messages. It raises `BadPayload` and nothing else."""


def reader_of(source: SourceSettings) -> Read | None:
    """Return the reader of a source, None without a handler. Raises `Misconfigured`."""
    if source.handler is None and source.description is None:
        return None
    place = f"sources.{source.name}"
    told = {"handler": source.handler, "description": source.description}
    provider = provider_of(source.name, told, place)
    try:
        callback = provider.configure(provider.options.model_validate({})).callback
    except ValidationError:
        callback = None
    if callback is None:
        key = "handler" if source.description is None else "description"
        raise Misconfigured(f"{place}.{key}", f"{provider.name} has no callbacks to read")
    return callback.parse
