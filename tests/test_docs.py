"""The documents, compared with the code: settings, handlers, commands, samples, links."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel
from standardwebhooks import WebhookVerificationError

from receiver.api.event_examples import EXAMPLES
from receiver.cli import COMMANDS, ringback
from receiver.config.load import load
from receiver.config.settings import AccountSettings, EndpointSettings, Settings
from receiver.config.sources import SCHEMES, SourceSettings
from tests import node
from tests.documents import SECRET, delivery, samples

HERE = Path(__file__).parents[1]
README = (HERE / "README.md").read_text("utf-8")
DOCUMENTS = sorted(path for path in HERE.rglob("*.md") if ".venv" not in path.parts)
FOLDERS = sorted({path.parent for path in HERE.glob("*/**/__init__.py") if ".venv" not in path.parts})


def rows(document: str, heading: str) -> dict[str, str]:
    """Return the first two cells of every row in the table below a heading."""
    text = (HERE / document).read_text("utf-8").split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    cells = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    return {row[1].strip().strip("`"): row[2].strip() for row in cells}


@pytest.mark.parametrize(
    ("heading", "model", "hidden"),
    [
        ("## Settings", Settings, set()),
        ("### `[providers.<account>]`", AccountSettings, {"options"}),
        ("### `[[endpoints]]`", EndpointSettings, set()),
        ("### `[[sources]]`", SourceSettings, set()),
    ],
)
def test_every_setting_is_documented_and_every_documented_one_exists(
    heading: str, model: type[BaseModel], hidden: set[str]
) -> None:
    assert set(rows("deploy/README.md", heading)) == set(model.model_fields) - hidden


def test_every_scheme_of_a_proof_is_documented_with_its_keys() -> None:
    documented: dict[str, str] = {}
    text = (HERE / "deploy" / "README.md").read_text("utf-8").split("### `proof`\n", 1)[1].split("\n#", 1)[0]
    for line in text.splitlines():
        if line.startswith("| `"):
            _, names, _, keys, _ = line.split("|")
            documented |= dict.fromkeys(re.findall(r"`([a-z0-9-]+)`", names), keys)
    assert documented.keys() == SCHEMES.keys()
    for name, rule in SCHEMES.items():
        needed, _, taken = documented[name].partition(";")
        assert all(key in needed for key in rule.needs), name
        assert all(key in taken for key in rule.takes), name


def test_documented_defaults_are_the_defaults() -> None:
    for name, said in rows("deploy/README.md", "## Settings").items():
        default = Settings.model_fields[name].default
        if said.startswith("`") and isinstance(default, str | int | float | bool | tuple):
            plain = default if isinstance(default, str) else json.dumps(default)
            assert said.strip("`") == plain, name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_with_an_example(name: str) -> None:
    told = CliRunner().invoke(ringback, [name, "--help"])
    assert told.exit_code == 0
    assert f"ringback {name}" in told.output.split("Example:", 1)[1]


def every_command(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of a command and of every command below it."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, (*path, name))


@pytest.mark.parametrize("path", list(every_command(ringback)), ids=" ".join)
def test_every_help_has_an_example_and_fits_80_columns(path: tuple[str, ...]) -> None:
    told = CliRunner().invoke(ringback, [*path, "--help"], terminal_width=80)
    assert f"ringback {' '.join(path)}" in told.output.split("Example:", 1)[1]
    assert [line for line in told.output.splitlines() if len(line) > 80] == []


def test_every_option_of_a_command_says_what_it_is() -> None:
    context = click.Context(ringback)
    for name in COMMANDS:
        command = ringback.get_command(context, name)
        assert command is not None
        options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
        assert all(option.help for option in options), name


def taken(event: dict[str, Any]) -> str | None:
    """Return the value that the README's samples should return for an event."""
    assets = event["data"].get("assets") if event["type"] == "job.succeeded" else None
    found: str | None = assets[0]["url"] if assets else event["data"].get("state")
    return found


WITHOUT_FILES = EXAMPLES["job.succeeded"] | {"data": EXAMPLES["job.succeeded"]["data"] | {"assets": []}}
EVENTS = [*EXAMPLES.values(), WITHOUT_FILES]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event["type"])
def test_the_python_sample_takes_every_event(event: dict[str, Any]) -> None:
    [sample] = [one for one in samples(README, "python") if "standardwebhooks" in one]
    space: dict[str, Any] = {}
    exec(sample, space)  # noqa: S102  # the README's sample
    body, headers = delivery(event)
    assert space["take"](body, headers, SECRET) == taken(event)
    with pytest.raises(WebhookVerificationError):
        space["take"](body + b" ", headers, SECRET)


RUN = """
import { take } from "./take.js";
import { readFileSync } from "node:fs";
const { secret, deliveries } = JSON.parse(readFileSync("cases.json", "utf8"));
const refused = ([body, headers]) => {
  try {
    return take(body + " ", headers, secret), false;
  } catch {
    return true;
  }
};
const taken = deliveries.map(([body, headers]) => take(body, headers, secret));
console.log(JSON.stringify([taken, deliveries.map(refused)]));
"""


def test_the_javascript_sample_takes_every_event(tmp_path: Path) -> None:
    [sample] = samples(README, "js")
    (tmp_path / "take.js").write_text(sample)
    made = [delivery(event) for event in EVENTS]
    cases = {"secret": SECRET, "deliveries": [[body.decode(), headers] for body, headers in made]}
    found, refused = node.run(tmp_path, RUN, cases=cases)
    assert found == [taken(event) for event in EVENTS]
    assert refused == [True] * len(EVENTS)


def test_an_anchor_that_a_comment_names_is_there() -> None:
    named = set()
    for path in (*(HERE / "receiver").rglob("*.py"), *(HERE / "handlers").rglob("*.py")):
        named |= set(re.findall(r"([\w/]+\.md)#([a-z-]+)", path.read_text("utf-8")))
    assert len(named) > 20
    missing = [
        f"{document}#{anchor}"
        for document, anchor in sorted(named)
        if f'<a id="{anchor}"></a>' not in (HERE / document).read_text("utf-8")
    ]
    assert not missing


def test_the_glossary_has_about_thirty_words() -> None:
    text = (HERE / "receiver" / "README.md").read_text("utf-8")
    words = re.findall(
        r"^\| ([a-z ,A-Z]+) \| \S", text.split("## Words", 1)[1].split("\n## ", 1)[0], re.MULTILINE
    )
    assert len(words) >= 30
    assert words[1:] == sorted(words[1:])


CLIENT_ROOMS = (HERE / "client" / "ringback", HERE / "tests" / "client")


def front_doors(folder: Path) -> Iterator[Path]:
    """Yield the files that may introduce a folder: its own, or that of a folder above it."""
    yield folder / "README.md"
    if folder.parent in CLIENT_ROOMS:
        yield folder.parent / "README.md"
    if folder.name == "migrations" or folder.is_relative_to(HERE / "tests" / "receiver"):
        yield folder.parent / "README.md"
        yield HERE / "tests" / "receiver" / "README.md"


def test_every_folder_of_code_has_a_front_door() -> None:
    assert not [folder for folder in FOLDERS if not any(map(Path.exists, front_doors(folder)))]


def test_the_client_s_readme_names_its_modules_and_no_others() -> None:
    room = HERE / "client" / "ringback"
    named = set(re.findall(r"`([a-z_0-9]+\.py)`", (room / "README.md").read_text("utf-8")))
    assert named == {path.name for path in room.rglob("*.py")} - {"__init__.py"}


ROOMS = [
    folder for folder in FOLDERS if folder.is_relative_to(HERE / "receiver") and folder.name != "migrations"
]


@pytest.mark.parametrize("room", ROOMS[1:], ids=lambda path: str(path.relative_to(HERE)))
def test_a_room_s_readme_names_its_modules_and_no_others(room: Path) -> None:
    named = set(re.findall(r"`([a-z_0-9]+\.py)`", (room / "README.md").read_text("utf-8")))
    there = {path.name for path in room.glob("*.py")}
    assert there - named <= {"__init__.py"}
    assert named <= there


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(HERE)))
def test_links_to_files_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_no_document_or_code_holds_an_address_of_a_registry_or_of_this_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=HERE, capture_output=True, text=True, check=True
    ).stdout.split()
    home = str(Path.home())
    for name in listed:
        text = (HERE / name).read_text("utf-8", "replace")
        for place in (str(HERE.parent), home):
            assert not re.search(rf"(?<![\w.-]){re.escape(place)}/", text), name
        assert not re.search(r"https?://[a-z.]*(?:pyp[i]|pythonhoste[d]|npmj[s])", text), name


def test_the_example_names_every_setting_and_parses_with_all_of_them_set(tmp_path: Path) -> None:
    text = (HERE / "deploy" / "ringback.example.toml").read_text("utf-8")
    load(HERE / "deploy" / "ringback.example.toml", {})
    lines = text.split("\n\n", 1)[1].splitlines()
    whole = [line.removeprefix("# ") for line in lines if "postgresql://" not in line]
    (tmp_path / "all.toml").write_text(
        "\n".join(whole)
        .replace("/etc/ssl/our-ca.pem", str(tmp_path / "all.toml"))
        .replace("/etc/ringback/acme.toml", str(HERE / "handlers" / "described" / "fal.toml"))
    )
    loaded = load(tmp_path / "all.toml", {})
    given = {name.split(".", 1)[0] for name in loaded.origins}
    assert given == set(Settings.model_fields)
    sections = tomllib.loads("\n".join(whole))
    apiframe, acme = sections["providers"]["apiframe"], sections["providers"]["acme"]
    assert {*apiframe, *acme} == set(AccountSettings.model_fields) - {"options"}
    assert set(sections["endpoints"][0]) == set(EndpointSettings.model_fields)
