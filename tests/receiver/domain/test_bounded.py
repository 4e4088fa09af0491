"""Things of which only the newest stay: those kept by name, and those of the simulated providers."""

import pytest

from receiver.domain.bounded import keep
from receiver.egress.address_guard import guard
from receiver.egress.client import HttpClient
from receiver.sandbox import world
from receiver.sandbox.world import Knobs, Made, World


def test_the_oldest_makes_room() -> None:
    kept: dict[str, int] = {}
    for number, name in enumerate("abac"):
        keep(kept, name, number, 2)
    assert kept == {"a": 2, "c": 3}


async def test_a_simulated_provider_remembers_so_many_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "KEPT", 2)
    made = World(client=HttpClient(guard((), http=False)), knobs=Knobs())
    for name in "abc":
        job = Made(
            id=name,
            provider="aiml",
            operation="video",
            input={},
            words=frozenset(),
            key="key",
            started=0.0,
            takes=1.0,
            origin="http://127.0.0.1",
        )
        made.accept(job, None)
    assert (list(made.jobs), made.accepted["aiml"]) == (["b", "c"], 3)
