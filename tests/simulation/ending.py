"""The rules that hold once the world is well again: everything that was accepted comes to its end."""

from collections.abc import Sequence
from typing import Any

from receiver.store.statements import ms
from tests.simulation.checks import FINAL, Checks
from tests.simulation.faces import FACES
from tests.simulation.plan import SCRIPT_SECONDS, Plan
from tests.simulation.replica import START, Process
from tests.simulation.users import Users
from tests.simulation.world import Generation

ENOUGH = 300.0
"""Seconds between the world's healing and a job's deadline with which every job ends in time."""
JOBS = "select id, account, state, provider_job_id, deadline_at, completed_by, assets, result, error from job"


class Ending:
    """The checks of a run in a world that is well again."""

    def __init__(self, plan: Plan, checks: Checks, users: Users, processes: Sequence[Process]) -> None:
        self.plan = plan
        self.checks = checks
        self.world = checks.world
        self.database = checks.database
        self.users = users
        self.processes = processes

    def quiet(self) -> bool:
        """Return whether nothing is left to do."""
        if not self.world.time.idle:
            return False
        open_jobs = self.database.ask("select 1 from job where completed_at is null limit 1")
        return not open_jobs and not self.database.ask("select 1 from due limit 1")

    def look(self) -> None:
        """Check that every answer counted, then give up each job without one as its operator."""
        for row in self.database.ask(JOBS):
            number = self.users.number(row["id"])
            if row["state"] == "unconfirmed":
                self._doubted(row, number)
                self.users.settle(row["id"])

    def look_again(self) -> None:
        """Check that everything has ended, and ended correctly."""
        if self.checks.broken:
            return
        for process in self.processes:
            for failure in process.loop.failures:
                self.checks.breaks("error", failure)
        for row in self.database.ask(JOBS):
            number = self.users.number(row["id"])
            if row["state"] not in FINAL:
                self.checks.breaks("never-ends", f"j{number} is still {row['state']}")
            else:
                self._ended(row, number)
        for row in self.database.ask("select id, state, target from delivery where state = 'pending'"):
            self.checks.breaks("never-ends", f"{row['id']} to {row['target']} is still pending")
        self._delivered()
        self._kept()

    def _answered(self, number: int) -> list[Generation]:
        """Return the jobs that the provider accepted, if a process that lived on received the answer."""
        return [
            one
            for one in self.world.generations.values()
            if one.job == number and any(process.died_at > at + 60.0 for at, process in one.answered)
        ]

    def _doubted(self, row: Any, number: int) -> None:
        if self._answered(number) and not self.checks.resubmitted[number]:
            self.checks.breaks("answer-dropped", f"j{number} is unconfirmed although its answer came")

    def _ended(self, row: Any, number: int) -> None:
        mine = self._mine(row, number)
        if row["state"] == "expired" and mine and self._in_time(row):
            self.checks.breaks("never-ends", f"j{number} is expired although {mine[0].id} was known and done")
        untried = not self.world.sent[number] and row["id"] not in self.checks.tried
        if row["state"] == "expired" and untried and self._in_time(row):
            self.checks.breaks("never-ends", f"j{number} was never submitted")
        if row["state"] == "succeeded" and not row["assets"] and not row["result"]:
            self.checks.breaks("two-ends", f"j{number} succeeded without a result")
        if row["completed_by"] == "cancel" and FACES[row["account"]].cancel is not None:
            self._canceled(row, number, mine)
        if row["state"] in {"canceled", "expired"}:
            self._late(row, number)

    def _mine(self, row: Any, number: int) -> list[Generation]:
        """Return the provider's jobs that a job is known to be."""
        bound = row["provider_job_id"]
        if bound is None:
            return self._answered(number)
        return [one for one in self.world.generations.values() if one.id == bound and one.job == number]

    def _in_time(self, row: Any) -> bool:
        """Return whether there was enough time, on the clocks of all processes."""
        ahead = max(process.ahead for process in self.processes)
        return bool(row["deadline_at"] - ms(START + ahead) > (SCRIPT_SECONDS + ENOUGH) * 1000)

    def _canceled(self, row: Any, number: int, mine: Sequence[Generation]) -> None:
        for one in mine:
            ended = self.checks.canceled_at.get(row["id"], 0.0)
            if one.ends > ended + 30.0 and not one.heard_cancel:
                self.checks.breaks(
                    "runs-on", f"j{number} is canceled and {one.id} was never told ({one.cancels} tries)"
                )

    def _late(self, row: Any, number: int) -> None:
        """Check that a result that comes after the end is announced."""
        events = self.database.ask("select type from event where job = :id", id=row["id"])
        if any(one["type"] == "job.late_result" for one in events):
            return
        for rung in self.world.rung:
            one = rung.generation
            known = row["provider_job_id"] == one.id or (row["provider_job_id"] is None and rung.proved)
            if (
                one.job == number
                and known
                and rung.phase == "succeeded"
                and rung.at > self.checks.ended_at(row["id"]) + 1.0
            ):
                self.checks.breaks(
                    "late-result-lost", f"j{number} is {row['state']}; {one.id} rang later: succeeded"
                )
                return

    def _delivered(self) -> None:
        """Check the deliveries that have ended.

        A delivered one was taken, and an exhausted one was tried as often as planned.
        """
        sql = "select d.id, d.event, d.target, d.state, d.tries, d.job from delivery d where origin = ''"
        for row in self.database.ask(sql):
            # A change may move endpoint N from `/N` to `/5N`. The callback URL of job N is `/9N`.
            urls = {"ep_0": ("0", "50"), "ep_1": ("1", "51")}.get(
                row["target"], (f"9{self.users.number(row['job'])}",)
            )
            taken = any(f"{row['event']} {url}" in self.world.taken for url in urls)
            if row["state"] == "delivered" and not taken:
                self.checks.breaks("not-delivered", f"{row['id']} to {row['target']} was never taken")
            if row["state"] == "exhausted" and row["tries"] <= len(self.plan.schedule):
                self.checks.breaks("not-delivered", f"{row['id']} gave up after {row['tries']} tries")

    def _kept(self) -> None:
        """Check that every callback that was answered 200 is stored, byte for byte."""
        for rung in self.world.rung:
            assert rung.generation.hook is not None
            job_id = rung.generation.hook[1].split(".")[1]
            if job_id in self.users.erased:
                continue
            found = self.database.ask(
                "select 1 from evidence where job = :id and body = :body", id=job_id, body=rung.body
            )
            if not found:
                self.checks.breaks("callback-lost", f"a callback about j{rung.generation.job} is not stored")
