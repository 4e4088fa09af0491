"""The callers of the service: users, operators, and providers that send callbacks."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from receiver.api import deliveries
from receiver.api import endpoints as api
from receiver.api.guard import RequestContext
from receiver.api.requests import EndpointPatch
from receiver.app import App
from receiver.bodies.parts import Parts
from receiver.domain.errors import ReceiverError, StoreUnavailable, UnknownCallback
from receiver.domain.model import Endpoint, EndpointState
from receiver.domain.reports import Action as JobAction
from receiver.jobs.service import JobSpec
from receiver.store import endpoints as table
from tests.simulation.faces import FACES
from tests.simulation.plan import Action, Ring
from tests.simulation.replica import Process
from tests.simulation.world import RING_TRIES, Generation, World

ASK_AGAIN = 3.0
ASKS = 12
SECRET = "whsec_" + "A" * 43 + "="
VERDICTS = {"resubmit": JobAction.RESUBMIT, "bind": JobAction.BIND, "fail": JobAction.GIVE_UP}


class Users:
    """All callers of the service. `ready` returns one of the processes that accept requests now."""

    def __init__(self, world: World, ready: Callable[[], Process | None]) -> None:
        self.world = world
        self.ready = ready
        self.jobs: dict[int, str] = {}
        self.erased: set[str] = set()
        self.submitted: dict[int, Action] = {}
        world.ring_at = self.ring

    def number(self, job_id: str) -> int:
        """Return the number of a job in the plan; -1 where it has none."""
        return next((number for number, one in self.jobs.items() if one == job_id), -1)

    def act(self, action: Action) -> bool:
        """Perform an action if it is a caller's. Returns whether it is."""
        do: Callable[[Action], object] | None = getattr(self, f"_{action.kind}", None)
        if do is None:
            return False
        do(action)
        return True

    def _on(self, what: str, ask: Callable[[App], Awaitable[Any]], *, again: bool = False) -> None:
        """Send a request to a process that accepts requests; with `again`, until it is answered."""
        self._try(what, ask, ASKS if again else 1)

    def _try(self, what: str, ask: Callable[[App], Awaitable[Any]], tries: int) -> None:
        process = self.ready()
        if process is None:
            self._later(what, ask, tries)
            return
        process.loop.create_task(self._asking(process, what, ask, tries))

    def _later(self, what: str, ask: Callable[[App], Awaitable[Any]], tries: int) -> None:
        if tries > 1:
            self.world.time.after(ASK_AGAIN, lambda: self._try(what, ask, tries - 1))

    async def _asking(
        self, process: Process, what: str, ask: Callable[[App], Awaitable[Any]], tries: int
    ) -> None:
        assert process.services is not None
        done, asked_at = False, self.world.time.now

        def unless_done() -> None:
            if not done:
                self._later(what, ask, tries)

        if tries > 1:
            self.world.time.after(ASK_AGAIN * 5, unless_done)
        try:
            async with asyncio.timeout(60):
                await ask(process.services)
        except TimeoutError:
            if process.woke_at < asked_at:
                raise
            self.world.note(f"{what}: no answer of a process that stood still")
        except StoreUnavailable:
            self.world.note(f"{what}: cannot be stored now")
            if not done:
                done = True
                self._later(what, ask, tries)
        except ReceiverError as error:
            done = True
            self.world.note(f"{what}: {error.code}: {error.detail}")
        else:
            done = True
            self.world.note(f"{what}: done")

    # Users.

    def _submit(self, action: Action) -> None:
        number, values = action.job, action.values
        assert number is not None
        self.submitted[number] = action
        self.world.scripts[number] = values["script"]
        face = FACES[values["account"]]
        asked = face.asks(f"j{number}")
        whole = json.dumps(asked).encode()
        wish = JobSpec(
            provider=values["account"],
            operation=face.operation,
            input=asked,
            whole=Parts([whole]),
            shown=whole,
            hashed=hashlib.sha256(whole).digest(),
            metadata={},
            callback_url=f"https://down.test/9{number}" if values["callback"] else None,
            callback_secret=SECRET if values["callback"] else None,
            deadline_seconds=values["deadline"],
        )

        async def ask(services: App) -> None:
            await services.api.jobs.submit(wish, "key_1", str(number))

        for _ in range(2 if values["twice"] else 1):
            self._on(f"submit j{number} to {values['account']}", ask, again=True)

    def _of_job(self, action: Action, ask: Callable[[App, str], Awaitable[Any]], what: str) -> None:
        job_id = self.jobs.get(action.job or 0)
        if job_id is not None:
            self._on(f"{what} j{action.job}", lambda services: ask(services, job_id))

    def _cancel(self, action: Action) -> None:
        for _ in range(action.values["times"]):
            self._of_job(action, lambda services, job_id: services.api.jobs.cancel(job_id), "cancel")

    def _resolve(self, action: Action) -> None:
        how = action.values["how"]
        theirs = next((one.id for one in self.world.generations.values() if one.job == action.job), None)
        if how == "bind" and theirs is None:
            return
        note = theirs if how == "bind" else None
        for turn in range(action.values["times"]):
            self.world.time.after(
                turn * action.values["apart"],
                lambda: self._of_job(
                    action,
                    lambda services, job_id: services.api.jobs.resolve(job_id, VERDICTS[how], note),
                    f"resolve ({how})",
                ),
            )

    def _erase(self, action: Action) -> None:
        async def ask(services: App, job_id: str) -> None:
            self.erased.add(job_id)
            await services.api.jobs.erase(job_id)

        self._of_job(action, ask, "erase")

    def _hint(self, action: Action) -> None:
        """Post a body that proves nothing, as a stranger with a callback URL."""
        for generation in self.world.generations.values():
            if generation.job == action.job and generation.hook:
                for _ in range(action.values["times"]):
                    self.ring(
                        Ring("end", 0.0), generation, b'{"status":"whatever"}', {}, lambda _status: None
                    )
                return

    # Operators.

    def _endpoint(self, action: Action) -> None:
        number = action.values["number"]

        async def ask(services: App) -> None:
            now = services.core.clock.now()
            await services.api.endpoints.create(
                Endpoint(
                    id=f"ep_{number}",
                    url=f"https://down.test/{number}",
                    events=action.values["events"] or ("job.succeeded",),
                    created_at=now,
                    updated_at=now,
                    secrets=(SECRET,),
                    max_in_flight=action.values["most"],
                )
            )

        self._on(f"endpoint {number}", ask, again=True)

    def _patch(self, action: Action) -> None:
        number, what = action.values["number"], action.values["what"]
        endpoint_id = f"ep_{number}"
        moved: dict[str, Any] = {"url": f"https://down.test/5{number}", "events": ["*"]}
        secret = "whsec_" + "B" * 43 + "="

        async def ask(services: App) -> None:
            asked = _asked(services, endpoint_id)
            if what == "remove":
                await api.delete(asked)
            elif what == "resume":
                await api.resume(asked)
            elif what == "pause":
                await services.core.store.write(
                    lambda: table.set_state(endpoint_id, "paused", None, services.core.clock.now())
                )
                await services.api.endpoints.refresh()
            elif what == "secret":
                await services.api.endpoints.update(
                    endpoint_id, lambda one: replace(one, secrets=(secret, *one.secrets))
                )
            else:
                asked.body = EndpointPatch.model_validate({what: moved[what]})
                await api.update(asked)

        self._on(f"{what} of endpoint {number}", ask)

    def resume_all(self) -> None:
        """Resume every endpoint."""

        async def ask(services: App) -> None:
            await services.api.endpoints.refresh()
            for endpoint in services.core.endpoint_cache.all():
                if endpoint.state is not EndpointState.ACTIVE:
                    await api.resume(_asked(services, endpoint.id))

        self._on("resume all endpoints", ask, again=True)

    def settle(self, job_id: str) -> None:
        """Give up a job that never had an answer."""
        number = self.number(job_id)
        self._on(
            f"give up j{number}",
            lambda services: services.api.jobs.resolve(job_id, JobAction.GIVE_UP),
            again=True,
        )

    def _retry(self, action: Action) -> None:
        self._with_delivery(action, deliveries.retry, "retry")

    def _drop(self, action: Action) -> None:
        self._with_delivery(action, deliveries.cancel, "drop")

    def _with_delivery(
        self, action: Action, call: Callable[[RequestContext], Awaitable[Any]], what: str
    ) -> None:
        async def ask(services: App) -> None:
            found = services.core.store.driver._database.ask("select id from delivery order by id")  # type: ignore[attr-defined]  # the inline driver's
            if action.values["nth"] < len(found):
                await call(_asked(services, found[action.values["nth"]]["id"]))

        self._on(f"{what} delivery {action.values['nth']}", ask)

    # Providers.

    def ring(
        self,
        ring: Ring,
        generation: Generation,
        body: bytes,
        proof: dict[str, str],
        answered: Callable[[int], None],
        tries: int = RING_TRIES,
    ) -> None:
        """Send a callback, and again after a while where it could not be taken."""
        process = self.ready()

        def again() -> None:
            if tries > 1:
                self.world.time.after(
                    8.0, lambda: self.ring(ring, generation, body, proof, answered, tries - 1)
                )

        if process is None:
            again()
            return
        process.loop.create_task(self._ringing(process, generation, body, proof, answered, again))

    async def _ringing(
        self,
        process: Process,
        generation: Generation,
        body: bytes,
        proof: dict[str, str],
        answered: Callable[[int], None],
        again: Callable[[], None],
    ) -> None:
        assert process.services is not None
        assert generation.hook is not None
        account, token = generation.hook
        try:
            await process.services.api.callbacks.take(account, token, list(proof.items()), body)
        except UnknownCallback:
            answered(401)
        except StoreUnavailable:
            again()
        else:
            answered(200)


def _asked(services: App, thing: str) -> RequestContext:
    """Return a checked call of the API about one resource."""
    request = cast("Any", SimpleNamespace(path_params={"id": thing}))
    return RequestContext(
        services=services.api, document=dict, request=request, caller=cast("Any", None), body=None, query=None
    )
