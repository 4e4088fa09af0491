"""The plan of a seed: the settings, and a list of actions of which any may be left out."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ACCOUNTS = ("keyed", "proved", "bare", "hinted", "text", "words", "nameless")
CALLS_BACK = frozenset(ACCOUNTS) - {"bare"}
SCRIPT_SECONDS = 90.0
CROWDED, QUARRELS = 0.04, 0.08
JOB_SECONDS = 400
GOOD = "ok"
SUBMITS = (
    *("ok",) * 6,
    *("slow", "hang", "lost", "lost", "500", "503", "503", "429", "429 after 7", "unreachable"),
    *("garbled", "401", "402", "403", "422"),
)
"""Answers to a submission. The job is accepted at `ok`, `slow`, `hang`, `lost`, `500` and `garbled`."""
POLLS = (*("ok",) * 4, "slow", "hang", "503", "429", "429 after 7", "403", "404", "garbled", "unreachable")
DOWNSTREAMS = ("500", "hang", "410", "429 after 9", "slow", "disable", "abort-message")
POINTS = ("sent", "answered", "polled", "rang", "unconfirmed", "queued", "pending", "final", "canceled")
"""Moments in a job's life after which an action may follow."""
TROUBLES = ("away", "lost", "unknown", "crash-before", "crash-after")


@dataclass(frozen=True)
class Ring:
    """A callback: the moment before it, the seconds after that, its repetitions; `forged` proves nothing."""

    moment: str
    delay: float
    times: int = 1
    forged: bool = False


@dataclass(frozen=True)
class Script:
    """The provider's treatment of a job: its answers to each kind of call in turn, then good ones."""

    submits: tuple[str, ...] = ()
    polls: tuple[str, ...] = ()
    cancels: tuple[str, ...] = ()
    runs: float = 8.0
    ends: str = "succeeded"
    rings: tuple[Ring, ...] = ()


@dataclass(frozen=True)
class Action:
    """An action: `at` a moment, or so many seconds after a `point` in the life of a job."""

    kind: str
    at: float = 0.0
    job: int | None = None
    point: str | None = None
    values: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        when = (
            f"{self.at:.3f} s"
            if self.point is None
            else f"{self.at:.3f} s behind {self.point} of j{self.job}"
        )
        told = " ".join(f"{name}={value}" for name, value in self.values.items())
        job = f" j{self.job}" if self.job is not None and self.point is None else ""
        return f"{when}: {self.kind}{job} {told}".rstrip()


@dataclass(frozen=True)
class Plan:
    """The plan of a run: its settings and its actions."""

    seed: int
    replicas: int
    policy: str
    slots: int
    max_jobs: int | None
    schedule: tuple[float, ...]
    actions: tuple[Action, ...]

    @property
    def shared(self) -> bool:
        """Return whether several processes may serve the database."""
        return self.replicas > 0


Make = Callable[[str, random.Random, int], Action]


def plan(seed: int) -> Plan:
    """Return the plan of a seed."""
    rnd = random.Random(seed)
    shape = rnd.random()
    if shape < CROWDED:
        return _crowd(seed, rnd)
    if shape < QUARRELS:
        return _quarrel(seed, rnd)
    kinds = _swarm(rnd)
    accounts = rnd.sample(ACCOUNTS, rnd.randint(1, 3))
    count = rnd.randint(3, 8)
    actions: list[Action] = [_endpoint(rnd, number) for number in range(rnd.randint(0, 2))]
    actions += [_submit(rnd, number, rnd.choice(accounts)) for number in range(count)]
    for _ in range(rnd.randint(5, 24)):
        kind = rnd.choice(kinds)
        actions.append(HAPPENINGS[kind](kind, rnd, rnd.randrange(count)))
    return Plan(
        seed=seed,
        replicas=rnd.choice((0, 0, 2, 3)),
        policy=rnd.choice(("hold", "hold", "hold", "resubmit", "fail")),
        slots=rnd.choice((1, 2, 2, 16)),
        max_jobs=rnd.choice((None, None, None, 2)),
        schedule=rnd.choice(((5.0, 20.0), (2.0, 5.0, 10.0, 20.0, 40.0), ())),
        actions=tuple(actions),
    )


def _crowd(seed: int, rnd: random.Random) -> Plan:
    """Return a plan with many jobs of one account, few slots, and a provider that is slow to answer polls."""
    account, slots = rnd.choice(ACCOUNTS), rnd.choice((1, 1, 2))
    actions = [Action("slowly", values={"seconds": rnd.choice((1.5, 3.0))})]
    for number in range(9):
        script = Script(runs=rnd.uniform(50, 70))
        values = {
            "account": account,
            "script": script,
            "deadline": JOB_SECONDS,
            "callback": False,
            "twice": False,
        }
        actions.append(Action("submit", 0.5 if number < 6 else 12.0 + number, number, values=values))
    return Plan(seed, 0, "hold", slots, None, (5.0,), tuple(actions))


def _quarrel(seed: int, rnd: random.Random) -> Plan:
    """Return a plan with operators and users that act on the same jobs.

    The operators all decide about the same jobs; the users cancel a job while it is being sent.
    """
    actions: list[Action] = []
    for number in range(4):
        lost = number % 2 == 0
        account = rnd.choice(("bare", "text", "words", "nameless") if lost else ("text", "words"))
        script = Script(submits=("lost", "slow") if lost else ("slow",), runs=60.0)
        values = {"account": account, "script": script, "deadline": JOB_SECONDS}
        values |= {"callback": False, "twice": False}
        actions.append(Action("submit", 0.5 + number, number, values=values))
        if lost:
            apart = rnd.choice((0.0, 0.002, 0.004, 0.006, 0.01))
            decided = {"how": "resubmit", "times": 6, "apart": apart}
            actions.append(Action("resolve", rnd.uniform(0, 1), number, "unconfirmed", decided))
        else:
            actions.append(Action("cancel", rnd.uniform(0, 5), number, "sent", {"times": 1}))
    return Plan(seed, rnd.choice((0, 2)), "hold", 16, None, (5.0,), tuple(actions))


def _swarm(rnd: random.Random) -> list[str]:
    """Return a few kinds of actions for a run: with many, one kind of trouble would hide another."""
    return rnd.sample(sorted(HAPPENINGS), rnd.randint(2, 6))


def _endpoint(rnd: random.Random, number: int) -> Action:
    events = rnd.choice((("*",), ("job.*", "job.late_result"), ("job.*", "job.progressed"), ()))
    return Action("endpoint", values={"number": number, "events": events, "most": rnd.choice((1, 4, 64))})


def _submit(rnd: random.Random, number: int, account: str) -> Action:
    at = rnd.choice((0.5, 1.0, rnd.uniform(1, 40), rnd.uniform(1, 10)))
    hard = rnd.random() < 0.6
    again = rnd.random() < 0.3
    submits = [rnd.choice(SUBMITS) for _ in range(rnd.randint(1, 3))] if hard else []
    polls = [rnd.choice(POLLS) for _ in range(rnd.randint(0, 8))] if rnd.random() < 0.6 else []
    if submits and again:
        submits = submits[:1] * rnd.randint(2, 9)
    if polls and again:
        polls = polls[:1] * rnd.randint(1, 4)
    script = Script(
        submits=tuple(submits),
        polls=tuple(polls),
        cancels=tuple(rnd.choice((GOOD, "503", "hang")) for _ in range(rnd.randint(0, 2))),
        runs=rnd.choice((0.0, 3.0, rnd.uniform(2, 60))),
        ends=rnd.choice(("succeeded",) * 5 + ("failed", "canceled")),
        rings=_rings(rnd) if account in CALLS_BACK else (),
    )
    values = {
        "account": account,
        "script": script,
        "deadline": rnd.choice((JOB_SECONDS,) * 5 + (int(rnd.uniform(5, 60)),)),
        "callback": rnd.random() < 0.3,
        "twice": rnd.random() < 0.2,
    }
    return Action("submit", at, number, values=values)


def _rings(rnd: random.Random) -> tuple[Ring, ...]:
    """Return the callbacks of a job.

    Early ones overtake the submission's answer. An `end` one reports the end, or the state at that moment.
    """
    moments = [moment for moment in ("early", "running", "end", "end") if rnd.random() < 0.5]
    return tuple(
        Ring(
            moment,
            rnd.choice((0.0, 0.01, rnd.uniform(0, 8))),
            rnd.choice((1, 1, 2)),
            rnd.random() < 0.1,
        )
        for moment in moments
    )


def _kind(points: tuple[str, ...] = POINTS, **values: tuple[Any, ...]) -> Make:
    """Return a function that makes actions of one kind, most of them after one of `points`.

    These are the worst moments for the action.
    """

    def make(kind: str, rnd: random.Random, job: int) -> Action:
        chosen = {name: rnd.choice(choices) for name, choices in values.items()}
        if rnd.random() < 0.3:
            return Action(kind, rnd.uniform(1, 80), job, None, chosen)
        at = rnd.choice((0.0, 0.003, rnd.uniform(0, 0.1), rnd.uniform(0, 10)))
        return Action(kind, at, job, rnd.choice(points), chosen)

    return make


CALLS = ("sent", "sent", "answered", "polled", "rang", "unconfirmed", "pending")
REPLICAS = (0, 1, 2)
HAPPENINGS: Mapping[str, Make] = {
    "cancel": _kind(("sent", "sent", "queued", "polled", "unconfirmed"), times=(1, 1, 2)),
    "resolve": _kind(
        (*("unconfirmed",) * 5, "queued", "pending"),
        how=("resubmit", "resubmit", "bind", "bind", "fail"),
        times=(1, 2, 2, 3),
        apart=(0.0, 0.0, 0.004, 0.02, 2.0),
    ),
    "erase": _kind(("final", "rang")),
    "retry": _kind(nth=(0, 1, 2, 3)),
    "drop": _kind(nth=(0, 1, 2, 3)),
    "patch": _kind(number=(0, 1), what=("url", "events", "pause", "resume", "remove", "secret")),
    "crash": _kind(CALLS, replica=REPLICAS, down=(0.1, 2.0, 30.0)),
    "stop": _kind(CALLS, replica=REPLICAS, down=(0.1, 5.0)),
    "stall": _kind(CALLS, replica=REPLICAS, seconds=(1.0, 8.0, 25.0, 40.0, 100.0)),
    "suspend": _kind(CALLS, replica=REPLICAS, seconds=(5.0, 25.0, 60.0, 100.0)),
    "step": _kind(CALLS, replica=REPLICAS, seconds=(-60.0, -5.0, 5.0, 40.0, 95.0, 100.0)),
    "store": _kind(CALLS, trouble=TROUBLES[:3], seconds=(0.01, 0.5, 3.0, 12.0)),
    "write": _kind(CALLS, trouble=TROUBLES, nth=(0, 0, 1, 2)),
    "downstream": _kind(number=REPLICAS, how=DOWNSTREAMS, seconds=(3.0, 20.0, 50.0)),
    "refuse": _kind(how=("401", "402", "403", "429 after 7", "503"), seconds=(3.0, 15.0, 40.0)),
    "hint": _kind(times=(1, 3)),
    "slowly": _kind(seconds=(10.0, 40.0)),
}
"""Functions that make actions, by kind: each about a job, or after a moment of its life."""
