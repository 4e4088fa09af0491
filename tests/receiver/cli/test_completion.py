"""Tests of the command `ringback completion`."""

import pytest
from click.testing import CliRunner

from receiver.cli import ringback


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str) -> None:
    told = CliRunner().invoke(ringback, ["completion", shell])
    assert told.exit_code == 0
    assert f"_RINGBACK_COMPLETE={shell}_complete" in told.output
