"""The configured accounts, their capabilities and their health, for the API."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from handlers.contract import Handler
from handlers.values import immutable
from receiver.domain.clock import Clock
from receiver.domain.rendering import stamp
from receiver.providers.accounts import Accounts
from receiver.providers.circuit_breaker import CircuitBreaker
from receiver.providers.hourly_counts import HourlyCounts
from receiver.store import Store, jobs
from receiver.store.standing import calls_under_way

HOUR = timedelta(hours=1)
"""The period that the health of an account covers."""


@immutable(kw_only=True)
class ProviderStatus:
    """The configured accounts as the API shows them."""

    accounts: Accounts
    breaker: CircuitBreaker
    counts: HourlyCounts
    store: Store
    clock: Clock

    @property
    def names(self) -> list[str]:
        """Return the names of the accounts, in their order in the settings."""
        return list(self.accounts.setups)

    async def of(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return these accounts with their health of the last hour."""
        took = await self.store.read(jobs.durations(self.clock.now() - HOUR))
        counted, calls = await self.counts.totals(), await self.store.read(calls_under_way())
        return [
            self.view(name, took.get(name, []), counted.get(name, Counter()), calls[name]) for name in names
        ]

    def view(self, name: str, took: list[float], counted: Counter[str], calls: int) -> dict[str, Any]:
        """Return one account, with the number of its `calls` under way.

        `took` holds the seconds that its jobs of the last hour needed, `counted` its counts.
        """
        setup = self.accounts.setups[name]
        handler = setup.handler
        blocked = self.breaker.blocked.get(name)
        return {
            "object": "provider",
            "id": name,
            "handler": handler.name,
            "on": setup.on,
            "base_url": setup.base_url,
            "blocked": blocked is not None,
            "blocked_at": stamp(blocked[0]) if blocked else None,
            "blocked_reason": blocked[1] if blocked else None,
            "default_operation": handler.default_operation,
            "example": dict(handler.example),
            "operations": _operations(handler),
            "can": {
                "callback": handler.callback is not None,
                "poll": handler.poll is not None,
                "cancel": handler.cancel is not None,
                "resolve": handler.resolve is not None,
            },
            "limits": {
                "max_in_flight": setup.settings.max_in_flight,
                "rate_limit": setup.settings.rate_limit,
                "max_jobs": setup.settings.max_jobs,
            },
            "in_flight": calls,
            "health": _health(sorted(took), counted),
        }


def _operations(handler: Handler) -> list[dict[str, Any]]:
    return [
        {
            "name": operation,
            "kind": one.kind.value if one.kind else None,
            "callback": one.callback and handler.callback is not None,
            "poll": one.poll and handler.poll is not None,
        }
        for operation, one in handler.operations.items()
    ]


def _health(took: list[float], counted: Counter[str]) -> dict[str, Any]:
    calls = counted["submissions"] + counted["polls"]
    return {
        "submissions": counted["submissions"],
        "callbacks": counted["callbacks"],
        "callbacks_refused": counted["refused"],
        "callbacks_missed": counted["missed"],
        "polls": counted["polls"],
        "error_rate": round(counted["errors"] / calls, 4) if calls else 0.0,
        "seconds_to_finish": {"p50": _quantile(took, 0.5), "p95": _quantile(took, 0.95)},
    }


def _quantile(values: list[float], share: float) -> float | None:
    return round(values[min(len(values) - 1, int(share * len(values)))], 3) if values else None
