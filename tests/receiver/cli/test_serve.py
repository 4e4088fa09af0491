"""Memory that was needed for a moment goes back to the system."""

import subprocess
import sys

MIB = 1 << 20
SERVED = """
from receiver.cli.serve import give_back_memory
from pathlib import Path

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

give_back_memory()
before = resident()
for _ in range(3):
    bodies = [b"x" * (20 << 20), b"y" * (10 << 20)]
    del bodies
print(resident() - before)
"""


def test_a_large_body_is_not_kept_for_the_next_one() -> None:
    told = subprocess.run([sys.executable, "-c", SERVED], capture_output=True, check=True, timeout=100)
    assert int(told.stdout) < 5 * MIB
