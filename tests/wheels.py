"""Wheels of the distributions of this checkout, built without a network."""

import subprocess
import sys
import zipfile
from pathlib import Path


def built(project: Path, folder: Path) -> zipfile.ZipFile:
    """Return the wheel of a project, built into `folder`."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True, timeout=100)
    [path] = folder.glob("*.whl")
    return zipfile.ZipFile(path)
