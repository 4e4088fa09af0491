"""Places in files: whole or not there, whatever happens."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ringback.errors import ConfigurationError
from ringback.places import FilePlace, MemoryPlace


def test_a_place_is_kept(tmp_path: Path) -> None:
    place = FilePlace(tmp_path / "events.place")
    assert place.load() is None
    place.save("evt_1")
    place.save("12345")
    assert (place.load(), FilePlace(str(place.path)).load()) == ("12345", "12345")
    assert list(tmp_path.iterdir()) == [place.path]


def test_the_file_is_durable_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replaced, synced = Path.replace, os.fsync

    def replace(self: Path, target: Path) -> Path:
        done.append(f"replace {self.read_text()}")
        return replaced(self, target)

    def fsync(number: int) -> None:
        done.append("fsync folder" if Path(f"/proc/self/fd/{number}").is_dir() else "fsync file")
        synced(number)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(os, "fsync", fsync)
    FilePlace(tmp_path / "p").save("evt_1")
    assert done == ["fsync file", "replace evt_1\n", "fsync folder"]


@pytest.mark.parametrize("text", [b"evt 1", b"\xff\xfe", b"a\0b", b"x" * 201, b"evt_1\nevt_2"])
def test_a_file_of_something_else_is_named_and_left_alone(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "notes").write_bytes(text)
    with pytest.raises(ConfigurationError, match="notes holds no place"):
        FilePlace(tmp_path / "notes").load()
    assert (tmp_path / "notes").read_bytes() == text


def test_a_folder_that_does_not_exist_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere is no folder; make it"):
        FilePlace(tmp_path / "nowhere" / "place").load()
    assert FilePlace(tmp_path / "place").load() is None


def test_an_empty_file_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "p").touch()
    assert FilePlace(tmp_path / "p").load() is None


def test_a_kill_leaves_a_whole_place(tmp_path: Path) -> None:
    program = (
        "import sys; from ringback.places import FilePlace\n"
        "place = FilePlace(sys.argv[1])\n"
        "for number in range(10**9):\n"
        "    place.save(f'evt_{number:0100}')\n"
        "    if number == 20: print('ready', flush=True)\n"
    )
    file = tmp_path / "p"
    process = subprocess.Popen([sys.executable, "-c", program, str(file)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    kept = FilePlace(file).load()
    assert kept is not None
    assert len(kept) == 104
    assert int(kept.removeprefix("evt_")) >= 20
    FilePlace(file).save("evt_next")
    assert FilePlace(file).load() == "evt_next"


def test_memory_keeps_a_place_as_long_as_it_lives() -> None:
    place = MemoryPlace("evt_1")
    assert place.load() == "evt_1"
    place.save("evt_2")
    assert place.load() == "evt_2"
