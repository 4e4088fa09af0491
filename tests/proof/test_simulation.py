"""Many seeds of the simulation, on two processes: none of them may go wrong."""

import concurrent.futures
import os

from tests.simulation.__main__ import failures, told
from tests.simulation.shrink import shrink

SEEDS = int(os.environ.get("PROOF_SEEDS", "20000"))
WORKERS = 2
PIECE = 250


def wrong(start: int) -> list[str]:
    """Return the shortest histories of the seeds of one piece that went wrong."""
    return [told(shrink(result)) for result in failures(range(start, min(start + PIECE, SEEDS)))]


def test_no_seed_goes_wrong() -> None:
    with concurrent.futures.ProcessPoolExecutor(WORKERS) as pool:
        found = [text for part in pool.map(wrong, range(0, SEEDS, PIECE)) for text in part]
    print(f"{SEEDS:,} seeds of the simulation, {len(found)} went wrong")
    assert not found, "\n\n".join(found)
