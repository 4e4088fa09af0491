"""The rules that hold after every transaction."""

import base64
import hmac
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from receiver.domain.event_types import JOB_FINAL, wants
from receiver.domain.model import State, Work
from receiver.egress.client import HttpCall
from receiver.events.interpreter import RESUBMISSIONS
from receiver.events.next_work import PAID_TRIES
from receiver.store.statements import ms
from tests.simulation.database import Database
from tests.simulation.faces import FACES
from tests.simulation.plan import Plan
from tests.simulation.replica import Process
from tests.simulation.users import Users
from tests.simulation.world import CERTAIN, World, body_of

FINAL = frozenset(state.value for state in State if state.final)
ORDER = {
    "pending": 0,
    "submitting": 1,
    "unconfirmed": 2,
    "queued": 3,
    "running": 4,
    **dict.fromkeys(FINAL, 9),
}
AGAIN = frozenset({("unconfirmed", "pending"), ("unconfirmed", "submitting")})
"""State changes by a decision to submit again; one transaction may make that decision and claim the job."""
BACK = AGAIN | {("submitting", "pending")}
"""The only state changes that go back: `AGAIN`, and a submission of which nothing was accepted."""
JOBS = (
    "select job.id, state, provider_job_id, intents, deadline_at, completed_by, account, "
    "due.work, due.leased from job left join due on due.id = job.id"
)
UNMATCHED = (
    "select d.id, d.state, due.id as due from delivery d left join due on due.id = d.id "
    "where (d.state = 'pending') <> (due.id is not null)"
)
NEW_EVENTS = "select seq, id, type, job, sequence from event where seq > :seen order by seq"
HELD = 45.0
"""Seconds within which a process stores an answer that it has: longer than any outage of the database."""
OVERDUE = 1000
"""Milliseconds that work may be due before younger work counts as passing it by."""


@dataclass(frozen=True)
class Violation:
    """A broken rule, and the evidence against it."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


class Checks:
    """The checks of the database after every commit, and of every call."""

    def __init__(
        self, plan: Plan, world: World, database: Database, users: Users, passing: frozenset[str]
    ) -> None:
        self.plan = plan
        self.passing = passing
        self.world = world
        self.database = database
        self.users = users
        self.broken: list[Violation] = []
        self.states: dict[str, str] = {}
        self.resubmitted: Counter[int] = Counter()
        self.tried: dict[str, float] = {}
        self.canceled_at: dict[str, float] = {}
        self.finals: Counter[str] = Counter()
        self._endpoints: dict[str, str] = {}
        self._seen = 0
        self._passed: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._ended_at: dict[str, float] = {}
        database.committed = self.committed
        world.called = self.called
        world.signed = self.signed

    def breaks(self, rule: str, text: str) -> None:
        """Keep a finding, unless its rule is passed over."""
        if rule in self.passing:
            return
        self.broken.append(Violation(rule, text))
        self.world.note(f"WRONG {rule}: {text}")

    def ended_at(self, job_id: str) -> float:
        """Return the moment at which a job ended; infinity where it did not."""
        return self._ended_at.get(job_id, float("inf"))

    def committed(self) -> None:
        """Check the rows that were just stored."""
        for row in self.database.ask(JOBS):
            self._job(row)
        for row in self.database.ask(NEW_EVENTS, seen=self._seen):
            self._event(row)
        for row in self.database.ask(UNMATCHED):
            due = "due" if row["due"] else "not due"
            self.breaks("delivery-due", f"{row['id']} is {row['state']} and {due}")
        for row in self.database.ask("select id, url, state, disabled_reason from endpoint"):
            self._endpoint(row)

    def _job(self, row: Any) -> None:
        job_id, state = row["id"], row["state"]
        if job_id not in self.states:
            [made] = self.database.ask("select key from idempotency where job = :id", id=job_id)
            self.users.jobs[int(made["key"])] = job_id
            self.world.sent.pop(int(made["key"]), None)
            self.resubmitted.pop(int(made["key"]), None)
        number = self.users.number(job_id)
        before = self.states.get(job_id)
        if before != state:
            self.states[job_id] = state
            self.world.note(f"j{number}: {before or 'new'} -> {state}")
            self._moved(row, number, before, state)
        if state in FINAL:
            return
        if (missing := self._missing(row)) is not None:
            self.breaks("nothing-due", f"j{number} is {state}, {missing}")

    def _missing(self, row: Any) -> str | None:
        """Return the work that should be due for an open job and is not."""
        state, work, known = row["state"], row["work"], row["provider_job_id"] is not None
        decides = self.plan.policy == "fail" or (
            self.plan.policy == "resubmit" and row["intents"] < PAID_TRIES
        )
        if state in {"pending", "submitting"}:
            well = work == "submit" or (work == "poll" and row["leased"])
        elif state == "unconfirmed":
            well = work == "poll" or not decides
        else:
            well = not known or work == "poll" or (work == "submit" and row["leased"])
        return None if well else f"due is {work or 'nothing'}"

    def _moved(self, row: Any, number: int, before: str | None, after: str) -> None:
        job_id = row["id"]
        if before is not None and ORDER[after] <= ORDER[before] and (before, after) not in BACK:
            self.breaks("backwards", f"j{number} went from {before} to {after}")
        if after == "submitting":
            self.tried[job_id] = self.world.time.now
        if (before, after) in AGAIN:
            self.resubmitted[number] += 1
        if after == "unconfirmed":
            self._unconfirmed(row, number)
        if after in FINAL:
            self._ended_at[job_id] = self.world.time.now
            self.world.point("final", number)
        if after == "canceled":
            self.canceled_at[job_id] = self.world.time.now
        self.world.point(after, number)

    def _unconfirmed(self, row: Any, number: int) -> None:
        sent = self.world.sent[number]
        last = sent[-1] if sent else None
        if last is None or last.at < self.tried.get(row["id"], 0.0):
            return
        if last.told is not None and last.answer in CERTAIN and last.process.ready:
            self.breaks("answer-dropped", f"j{number} is unconfirmed; the answer was {last.answer}")
        if FACES[row["account"]].keyed and len(sent) < RESUBMISSIONS:
            self.breaks(
                "asked-too-seldom", f"j{number} is unconfirmed after {len(sent)} submissions under its key"
            )

    def _event(self, row: Any) -> None:
        self._seen = row["seq"]
        job_id = row["job"]
        number = self.users.number(job_id) if job_id else -1
        self.world.note(f"event {row['type']}" + (f" of j{number}" if job_id else ""))
        if row["type"] in JOB_FINAL:
            self.finals[job_id] += 1
            if self.finals[job_id] > 1:
                self.breaks("two-ends", f"j{number} has {self.finals[job_id]} final events")
            if self.states.get(job_id) != row["type"].removeprefix("job."):
                self.breaks("two-ends", f"j{number} is {self.states.get(job_id)} and has {row['type']}")
        targets = {
            one["target"]
            for one in self.database.ask("select target from delivery where event = :id", id=row["id"])
        }
        for endpoint in self.database.ask("select id, events from endpoint where deleted_at is null"):
            wanted = wants(tuple(endpoint["events"].split()), row["type"])
            if wanted and endpoint["id"] not in targets:
                self.breaks("not-owed", f"{endpoint['id']} is not owed {row['type']} of j{number}")

    def _endpoint(self, row: Any) -> None:
        before = self._endpoints.get(row["id"])
        self._endpoints[row["id"]] = row["state"]
        if before not in {None, row["state"]}:
            self.world.note(f"{row['id']}: {before} -> {row['state']}")
            if row["state"] == "disabled" and row["url"] not in self.world.gone:
                self.breaks("wrongly-disabled", f"{row['id']} is disabled; its url never asked for it")

    # At every call.

    def called(self, process: Process, account: str, kind: str) -> None:
        """Check at the start of a call that older due work is not passed by again and again."""
        other = Work.POLL if kind == "submit" else Work.SUBMIT
        services = process.services
        if services is None or self.plan.max_jobs is not None:
            return
        lane = services.core.limits.lane(other, account)
        held = lane.blocked or lane.hold_until > process.elapsed()
        late = () if held else self._late(account, other)
        for job_id in [job for name, job in self._passed if name == other.value and job not in late]:
            del self._passed[other.value, job_id]
        for job_id in late:
            self._passed[other.value, job_id] += 1
            if self._passed[other.value, job_id] > 2 * self.plan.slots + 4:
                self.breaks(
                    "starved",
                    f"the {other.value} of j{self.users.number(job_id)} is passed by again and again",
                )

    def _late(self, account: str, work: Work) -> set[str]:
        now = min(process.now() for process in self.world.processes if process.alive)
        sql = "select id from due where work = :work and lane = :lane and leased = 0 and at <= :late"
        return {
            row["id"] for row in self.database.ask(sql, work=work.value, lane=account, late=ms(now) - OVERDUE)
        }

    def sent(self, number: int) -> None:
        """Check that a job has no more submissions than were decided on."""
        if FACES[self.users.submitted[number].values["account"]].keyed:
            return
        uncertain = [one for one in self.world.sent[number] if one.answer not in CERTAIN]
        if len(uncertain) > 1 + self.resubmitted[number]:
            self.breaks(
                "paid-twice",
                f"j{number} was sent {len(uncertain)} times; resubmitted {self.resubmitted[number]} times",
            )

    def answered(self, number: int) -> None:
        """Check that a process stores the provider's answer within `HELD` seconds."""
        generation = next(reversed([g for g in self.world.generations.values() if g.job == number]), None)
        if generation is None or not generation.answered:
            return
        _, process = generation.answered[-1]
        job_id = self.users.jobs[number]

        def stored() -> None:
            if process.loop.paused and process.alive:
                self.world.time.after(HELD, stored)
            elif process.alive and job_id not in self.users.erased:
                found = self.database.ask("select state, provider_job_id from job where id = :id", id=job_id)
                if found and found[0]["state"] in {"submitting", "unconfirmed"}:
                    self.breaks(
                        "answer-dropped", f"j{number} is {found[0]['state']}; its id was told {HELD:g} s ago"
                    )

        self.world.time.after(HELD, stored)

    def signed(self, url: str, call: HttpCall) -> None:
        """Check that a delivery is signed."""
        headers = dict(call.headers)
        text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body_of(call)
        macs = {
            "v1," + base64.b64encode(hmac.digest(key, text, "sha256")).decode()
            for key in (base64.b64decode(one * 43 + "=") for one in "AB")
        }
        if not macs & set(headers["webhook-signature"].split()):
            self.breaks("unsigned", f"a delivery to {url} carries no signature of its endpoint")
