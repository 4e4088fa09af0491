"""The shortest history that still goes wrong: actions are left out as long as the same rule breaks."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.simulation.plan import Action, Plan, Script
from tests.simulation.run import Result, Simulation

Run = Callable[[Plan], Result]
RUNS = 400
"""Number of runs that the search may take."""


def simulate(plan: Plan) -> Result:
    """Run a plan. Returns the result."""
    return Simulation(plan).run()


def shrink(result: Result, run: Run = simulate) -> Result:
    """Return the run of the smallest plan found that breaks the same rule as `result`."""
    assert result.violation is not None
    search = _Search(result, run)
    search.leave_out()
    search.simplify()
    search.leave_out()
    return search.best


class _Search:
    def __init__(self, result: Result, run: Run) -> None:
        assert result.violation is not None
        self.best = result
        self._rule = result.violation.rule
        self._run = run
        self._left = RUNS

    def leave_out(self) -> None:
        """Leave out halves, quarters and so on of the actions, then single ones."""
        size = max(1, len(self.best.plan.actions) // 2)
        while True:
            start = 0
            while start < len(self.best.plan.actions):
                actions = self.best.plan.actions
                if not self._try((*actions[:start], *actions[start + size :])):
                    start += size
            if size == 1:
                return
            size //= 2

    def simplify(self) -> None:
        """Let providers answer well, and in fewer other ways."""
        for index, action in enumerate(self.best.plan.actions):
            if action.kind != "submit":
                continue
            script: Script = action.values["script"]
            for plainer in (
                replace(script, rings=()),
                replace(script, polls=()),
                replace(script, cancels=()),
                replace(script, submits=()),
                replace(script, submits=script.submits[:1]),
            ):
                if self._replace(index, script=plainer):
                    script = plainer
            self._replace(index, callback=False)
            self._replace(index, twice=False)

    def _replace(self, index: int, **values: object) -> bool:
        actions = list(self.best.plan.actions)
        before = actions[index].values
        plainer = {**self.best.plan.actions[index].values, **values}
        if "script" in values:
            plainer["script"] = values["script"]
        if plainer == before:
            return False
        actions[index] = replace(actions[index], values=plainer)
        return self._try(actions)

    def _try(self, actions: Sequence[Action]) -> bool:
        if self._left == 0:
            return False
        self._left -= 1
        found = self._run(replace(self.best.plan, actions=tuple(actions)))
        if found.violation is None or found.violation.rule != self._rule:
            return False
        self.best = found
        return True
