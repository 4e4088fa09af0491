"""The standing of a deployment: open jobs, owed deliveries, states of endpoints, replicas."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from handlers.values import immutable
from receiver.domain.endpoint_health import Breaker, EndpointHealth, breaker
from receiver.domain.statistics import CALLBACK_URL
from receiver.store import holds
from receiver.store.due import WAITS, plain
from receiver.store.statements import Transaction, ms, query

STATES: Mapping[str, int] = {"active": 0, "paused": 1, "breaker open": 2, "disabled": 3}
"""The numbers of the states of an endpoint."""
HELD = 10_000
"""The most holds that are looked at, the longest: a lane that is held is not behind."""


@immutable(kw_only=True)
class DeploymentStanding:
    """Open jobs by account and state, and the standing of each endpoint.

    `owed` counts its pending deliveries, `oldest_due` is the age in seconds of the oldest that is past due.
    """

    jobs: Mapping[tuple[str, ...], int]
    owed: Mapping[str, int]
    oldest_due: Mapping[str, float]
    endpoints: Mapping[str, str]
    replicas: int


def calls_under_way() -> Transaction[Counter[str]]:
    """Return the number of submissions and polls under way by account, those of all replicas."""
    found = yield query(
        "select lane, count(*) as many from due where leased = 1 and work <> 'deliver' group by lane"
    )
    counted: Counter[str] = Counter()
    for row in found:
        counted[plain(row["lane"])] += row["many"]
    return counted


def standing(now: datetime) -> Transaction[DeploymentStanding]:
    """Return the standing at a moment. Only open jobs and due work are counted, never history."""
    jobs = yield query(
        "select account, state, count(*) as count from job where completed_at is null group by account, state"
    )
    held = yield from holds.held(now, HELD)
    lanes = yield from _lanes(ms(now))
    endpoints = yield query(
        "select e.id, e.state, h.failures from endpoint e left join endpoint_health h on h.endpoint = e.id "
        "where e.deleted_at is null"
    )
    replicas = yield query("select count(*) as count from replica")
    states = {row["id"]: _state(row["state"], row["failures"]) for row in endpoints}
    owed: Counter[str] = Counter()
    oldest: dict[str, float] = dict.fromkeys(states, 0.0)
    for suffixed, (count, first) in lanes.items():
        lane = plain(suffixed)
        name = CALLBACK_URL if "://" in lane else lane
        owed[name] += count
        sends = states.get(name, "active") != "paused" and states.get(name) != "disabled"
        if sends and lane not in held:
            oldest[name] = max(oldest.get(name, 0.0), (ms(now) - first) / 1000)
    return DeploymentStanding(
        jobs={(row["account"], row["state"]): row["count"] for row in jobs},
        owed={**dict.fromkeys(states, 0), **owed},
        oldest_due=oldest,
        endpoints=states,
        replicas=replicas[0]["count"],
    )


def _lanes(now: int) -> Transaction[dict[str, tuple[int, int]]]:
    """Return the number of deliveries in each lane, and the first's moment; `now` where none is due yet."""
    # Worded like the partial indexes, which hold all that is read: a backlog is counted without its rows.
    ready = yield query(
        "select lane, count(*) as count, min(at) as first from due where work = 'deliver' "
        "and lane not like '%~' group by lane"
    )
    waiting = yield query("select lane, count(*) as count from due where lane like '%~' group by lane")
    late: dict[str, int] = {}
    for which in WAITS.values():
        found = yield query(
            f"select lane, min(at) as first from due where {which} and at <= :now group by lane", now=now
        )
        late |= {row["lane"]: row["first"] for row in found}
    lanes = {row["lane"]: (row["count"], row["first"]) for row in ready}
    return lanes | {row["lane"]: (row["count"], late.get(row["lane"], now)) for row in waiting}


def _state(state: str, failures: int | None) -> str:
    trips = breaker(EndpointHealth(failures=failures or 0), held=True) is Breaker.OPEN
    return "breaker open" if state == "active" and trips else state
