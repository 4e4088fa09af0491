"""What the documents say is held against the code: settings, handlers, commands, samples, links."""

import json
import re
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from pydantic import BaseModel
from standardwebhooks import Webhook

import handlers
from receiver.cli import COMMANDS, ringback
from receiver.config import load
from receiver.settings import AccountSettings, EndpointSettings, Settings
from receiver.signing import headers as signed
from receiver.signing import key_of, new_secret

HERE = Path(__file__).parents[1]
DOCUMENTS = sorted(path for path in HERE.rglob("*.md") if ".venv" not in path.parts)
FOLDERS = sorted({path.parent for path in HERE.glob("*/**/__init__.py") if ".venv" not in path.parts})


def rows(document: str, heading: str) -> dict[str, str]:
    """The first two cells of every row of the table behind a heading."""
    text = (HERE / document).read_text("utf-8").split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    cells = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    return {row[1].strip().strip("`"): row[2].strip() for row in cells}


@pytest.mark.parametrize(
    ("heading", "model", "hidden"),
    [
        ("## Settings", Settings, set()),
        ("### `[providers.<account>]`", AccountSettings, {"options"}),
        ("### `[[endpoints]]`", EndpointSettings, set()),
    ],
)
def test_every_setting_is_documented_and_every_documented_one_exists(
    heading: str, model: type[BaseModel], hidden: set[str]
) -> None:
    assert set(rows("deploy/README.md", heading)) == set(model.model_fields) - hidden


def test_documented_defaults_are_the_defaults() -> None:
    for name, said in rows("deploy/README.md", "## Settings").items():
        default = Settings.model_fields[name].default
        if said.startswith("`") and isinstance(default, str | int | float | bool | tuple):
            plain = default if isinstance(default, str) else json.dumps(default)
            assert said.strip("`") == plain, name


def test_every_option_of_every_handler_is_documented() -> None:
    text = (HERE / "handlers" / "README.md").read_text("utf-8")
    for name, provider in handlers.ALL.items():
        for option in provider.options.model_fields:
            assert f"| `{name}` | `{option}` |" in text, f"{name}.{option}"


def test_every_handler_is_in_both_tables() -> None:
    for document in ("README.md", "handlers/README.md"):
        text = (HERE / document).read_text("utf-8")
        assert all(f"| `{name}` " in text for name in handlers.ALL), document


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_with_an_example(name: str) -> None:
    told = CliRunner().invoke(ringback, [name, "--help"])
    assert told.exit_code == 0
    assert f"ringback {name}" in told.output.split("Example:", 1)[1]


def test_every_option_of_a_command_says_what_it_is() -> None:
    context = click.Context(ringback)
    for name in COMMANDS:
        command = ringback.get_command(context, name)
        assert command is not None
        options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
        assert all(option.help for option in options), name


def test_the_python_sample_verifies_a_delivery_of_ours() -> None:
    sample = re.search(r"```python\n(.*?)```", (HERE / "README.md").read_text("utf-8"), re.DOTALL)
    assert sample is not None
    space: dict[str, object] = {}
    exec("\n".join(line.removeprefix("   ") for line in sample[1].splitlines()), space)  # noqa: S102  # our README
    secret = new_secret(b"s" * 32)
    body = b'{"id":"evt_1","type":"job.succeeded","data":{"assets":[{"url":"https://x.example"}]}}'
    timestamp = int(datetime.now(UTC).timestamp())
    given = dict(signed("evt_1", timestamp, body, [key_of(secret)]))
    take = space["take"]
    assert callable(take)
    assert take(body, given, secret) == "https://x.example"
    assert Webhook(secret).verify(body, given)


def test_every_folder_of_code_has_a_front_door() -> None:
    assert not [
        folder for folder in FOLDERS if folder.name != "migrations" and not (folder / "README.md").exists()
    ]


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
        assert str(HERE.parent) + "/" not in text, name
        assert home + "/" not in text, name
        assert not re.search(r"https?://[a-z.]*(?:pyp[i]|pythonhoste[d]|npmj[s])", text), name


def test_the_example_names_every_setting_and_parses_with_all_of_them_set(tmp_path: Path) -> None:
    text = (HERE / "deploy" / "ringback.example.toml").read_text("utf-8")
    load(HERE / "deploy" / "ringback.example.toml", {})
    lines = text.split("\n\n", 1)[1].splitlines()
    whole = [line.removeprefix("# ") for line in lines if "postgresql://" not in line]
    (tmp_path / "all.toml").write_text(
        "\n".join(whole).replace("/etc/ssl/our-ca.pem", str(tmp_path / "all.toml"))
    )
    loaded = load(tmp_path / "all.toml", {})
    given = {name.split(".", 1)[0] for name in loaded.origins}
    assert given == set(Settings.model_fields)
    sections = tomllib.loads("\n".join(whole))
    assert set(sections["providers"]["apiframe"]) == set(AccountSettings.model_fields) - {"options"}
    assert set(sections["endpoints"][0]) == set(EndpointSettings.model_fields)
