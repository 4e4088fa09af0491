"""Seeds of the simulation, the faults that it finds, and the repetition of a run by its seed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.__main__ import told
from tests.simulation.mutants import MUTANTS, without
from tests.simulation.plan import plan
from tests.simulation.run import Result, Simulation
from tests.simulation.shrink import shrink

SEEDS = 80
PARTS = 4
ROOT = Path(__file__).parents[2]
FOUND_BY = {
    "kept-answers": 160,
    "due-of-late-answers": 105,
    "one-resubmission": 32,
    "owned-claims": 220,
    "eight-tries": 191,
    "fair-turns": 281,
    "cancel-asked": 32,
    "late-results": 116,
}
"""The seed that finds each fault when its fix is taken out."""


def run(seed: int) -> Result:
    """Return the result of a seed's run."""
    return Simulation(plan(seed)).run()


@pytest.mark.parametrize("part", range(PARTS))
def test_all_is_well_in_the_end_whatever_happens(part: int) -> None:
    for seed in range(part, SEEDS, PARTS):
        result = run(seed)
        if result.violation is not None:
            pytest.fail(told(shrink(result)), pytrace=False)


@pytest.mark.parametrize("mend", sorted(MUTANTS))
def test_a_fault_is_found_once_its_mend_is_taken_out(mend: str) -> None:
    with without(mend):
        result = run(FOUND_BY[mend])
    assert result.violation is not None
    assert result.violation.rule == MUTANTS[mend].rule
    assert run(FOUND_BY[mend]).violation is None


def test_a_seed_is_one_run_to_the_letter() -> None:
    histories = [run(7).history for _ in range(2)]
    assert len(histories[0]) > 20
    assert histories[0] == histories[1]


def test_a_seed_is_the_same_run_in_another_process() -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seed", "7"]
    told_there = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told_there == told(run(7)) + "\n"


def test_a_failure_is_shrunk_to_what_it_needs() -> None:
    with without("kept-answers"):
        result = run(FOUND_BY["kept-answers"])
        shortest = shrink(result)
    assert shortest.violation is not None
    assert shortest.violation.rule == "answer-dropped"
    assert len(shortest.plan.actions) < len(result.plan.actions)
    assert {action.kind for action in shortest.plan.actions} >= {"submit"}
