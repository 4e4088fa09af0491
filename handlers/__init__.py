"""The registry of provider handlers: modules in Python, and descriptions in `handlers/described`."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handlers.contract import Provider

MODULES: Mapping[str, str] = {}
"""The handlers that are Python, by name: the name of the module."""
DESCRIBED = Path(__file__).parent / "described"
"""The folder of the shipped descriptions."""


class Registry(Mapping[str, "Provider"]):
    """The providers by name. Each is loaded at its first use: most services need a few of them."""

    def __init__(self) -> None:
        described = (path.stem for path in DESCRIBED.glob("*.toml"))
        self._names = sorted({*MODULES, *described})
        self._loaded: dict[str, Provider] = {}

    def __getitem__(self, name: str) -> "Provider":
        """Return a provider. Raises `KeyError` for an unknown name."""
        if name not in self._loaded:
            if name not in self._names:
                raise KeyError(name)
            self._loaded[name] = _load(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, sorted."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return the number of providers."""
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        """Return whether there is a provider of this name, without loading it."""
        return name in self._names


def _load(name: str) -> "Provider":
    if name in MODULES:
        module = import_module(f"{__name__}.{MODULES[name]}")
        found: Provider = module.PROVIDER
        return found
    making = import_module(f"{__name__}.description.making")
    described: Provider = making.provider(DESCRIBED / f"{name}.toml")
    return described


ALL = Registry()
"""The providers by name."""
