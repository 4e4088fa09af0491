"""The registry of providers: known by name, and loaded at their first use."""

import sys
from types import SimpleNamespace

import pytest

import handlers
from handlers import ALL, DESCRIBED, Registry


def test_every_description_is_a_provider() -> None:
    assert list(ALL) == sorted(path.stem for path in DESCRIBED.glob("*.toml"))
    assert len(ALL) == len(list(ALL))


def test_a_provider_is_loaded_once() -> None:
    assert ALL["fal"] is ALL["fal"]
    assert ALL["fal"].name == "fal"


def test_an_unknown_name_is_no_provider() -> None:
    assert "acme" not in ALL
    assert ALL.get("acme") is None


def test_a_module_in_python_is_a_provider_beside_the_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SimpleNamespace(PROVIDER=ALL["fal"])
    monkeypatch.setitem(sys.modules, "handlers.acme_api", own)
    monkeypatch.setattr(handlers, "MODULES", {"acme": "acme_api"})
    registry = Registry()
    assert list(registry) == sorted([*ALL, "acme"])
    assert registry["acme"] is own.PROVIDER
