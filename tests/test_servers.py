"""The set-up of the tests: its packages are locked and hashed, and it does nothing the second time."""

import json
import os
import subprocess

from tests.node import HERE, LOCK, packages


def test_the_second_time_nothing_is_installed_and_no_network_is_needed() -> None:
    packages()
    # A program that would reach a network finds none: the only way leads to a closed port of this machine.
    closed = "http://127.0.0.1:9"
    done = subprocess.run(
        ["sh", "tests/servers.sh"],
        cwd=HERE,
        env={**os.environ, "https_proxy": closed, "http_proxy": closed, "npm_config_registry": closed},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_packages_are_locked_by_hashes_without_an_address() -> None:
    wanted = json.loads((LOCK.parent / "package.json").read_text("utf-8"))["dependencies"]
    locked = json.loads(LOCK.read_text("utf-8"))["packages"]
    root = locked.pop("")
    assert root["dependencies"] == wanted
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(one["integrity"].startswith("sha512-") for one in locked.values())
    assert not [name for name, one in locked.items() if "resolved" in one or "hasInstallScript" in one]
