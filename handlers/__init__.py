"""The registry of provider handlers: the name of one module for each provider."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handlers.contract import Provider

MODULES = (
    "aiml",
    "apiframe",
    "apiframe_v2",
    "gately",
    "getimg",
    "imagineo",
    "minimax",
    "replicate",
)
ALL: "dict[str, Provider]"
"""The providers by name, imported at the first access: commands that only call a service need none."""


def __getattr__(name: str) -> "dict[str, Provider]":
    """Return `ALL`, built at its first access. Raises `AttributeError` for every other name."""
    if name != "ALL":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = [import_module(f"{__name__}.{module}").PROVIDER for module in MODULES]
    globals()["ALL"] = made = {provider.name: provider for provider in found}
    return made
