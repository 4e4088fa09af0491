"""Descriptions that cannot be used: refused when they are loaded, with file, line and fix."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from handlers import DESCRIBED
from handlers.description import loading, making
from handlers.description.loading import LARGEST, BadDescription
from handlers.description.texts import FORMS
from handlers.description.vocabulary import Description

GOOD = """\
name = "acme"
base_url = "https://api.acme.example"
checked = 2026-11-29
sources = ["the page, read 2026-11-29"]
confidence = { all = "unconfirmed" }
words = { WAITING = "queued", READY = "succeeded" }
fields = { id = "/id", status = "/status" }
submit = { secret = "header:x-secret", callback = "body:/webhook" }
poll = { path = "/v1/tasks/{id}" }
callback.proof = { scheme = "hmac", header = "x-signature" }
example = { prompt = "a tide" }

files = [
  { at = "/url" },
  { at = "/more/*", link = "url" },
]

operations = [
  { names = "video image", path = "/v1/{name}" },
]

[settings.region]
sets = "/headers/x-region"
say = "the region"
"""
NO_FILES = GOOD[GOOD.index("files = [") : GOOD.index("video image")]
"""The part of a description from its files to the names of its operations."""


def told(folder: Path, text: str) -> str:
    """Return the mistakes of a description."""
    path = folder / "acme.toml"
    path.write_text(text)
    with pytest.raises(BadDescription) as caught:
        loading.load(path)
    return str(caught.value).replace(f"{path}:", "")


def test_a_good_description_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(GOOD)
    provider = making.provider(tmp_path / "acme.toml")
    assert (provider.name, list(provider.options.model_fields)) == ("acme", ["region"])
    assert list(provider.configure(provider.options()).operations) == ["video", "image"]


def test_every_form_of_a_text_has_a_sentence() -> None:
    def patterns(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            yield from [node["pattern"]] if isinstance(node.get("pattern"), str) else []
        for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from patterns(inner)

    found = set(patterns(Description.model_json_schema()))
    # Words and spans have validators of their own.
    assert {one for one in found if one not in FORMS and "smhd" not in one and r"\w" not in one} == set()


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ('{ prompt = "a", webhook = "https://x.example" }', "example: /webhook is filled in by the service"),
        ('{ prompt = "a", callback_url = "x" }', "example: /callback_url is filled in by the service"),
        ("{ prompt = 5 }", "example: /prompt: "),
        ("{ seed = 5 }", "example: /prompt: "),
    ],
)
def test_an_example_that_an_account_would_refuse_is_refused(tmp_path: Path, example: str, said: str) -> None:
    path = tmp_path / "acme.toml"
    rules = 'rules = [{ types = { text = "prompt" }, required = ["prompt"] }]\n'
    path.write_text(GOOD.replace('example = { prompt = "a tide" }\n', f"example = {example}\n{rules}"))
    with pytest.raises(BadDescription, match=said):
        making.provider(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("submit = {", "submitt = {", "8: submitt: unknown key; did you mean submit?"),
        ('callback = "body', 'calback = "body', "8: submit.calback: unknown key; did you mean callback?"),
        ('"/more/*"', '"more"', "15: files.1.at.0: 'more' is no JSON pointer: begin it with /"),
        ('"/id"', '"/a~b"', "7: fields.id.0: '/a~b' is no JSON pointer: ~ is written ~0"),
        ('"succeeded"', '"done"', "6: words.READY: must be 'queued', 'running'"),
        ("READY =", '"^READY.*$" =', "6: words.^READY.*$: is no word: letters, digits"),
        ('"/id"', '"/0/id"', "7: fields.id.0: '/0/id' begins in a list: a message that is none but a list"),
        ('"/more/*"', '"/*"', "15: files.1.at.0: '/*' begins in a list"),
        (
            "example =",
            'auth = "query:key"\nexample =',
            "11: auth: must be bearer, raw, word:Key, header:x-api-key",
        ),
        (
            NO_FILES,
            'operations = [\n  { kind = "video", names = "',
            "operations.0.kind: a job of a kind ends with a file",
        ),
        (
            'files = [\n  { at = "/url" },',
            'resolve = "repoll"\nfiles = [\n  { at = "/url", source = true },',
            "files.source: needs the call [resolve]",
        ),
        ("READY =", "waiting =", "6: words: 'waiting' is there twice: words are compared in lower case"),
        (
            '"/v1/tasks/{id}"',
            '"https://other.example/{id}"',
            "9: poll.path: 'https://other.example/{id}' leaves",
        ),
        ('"/v1/tasks/{id}"', '"//other.example/{id}"', "9: poll.path: '//other.example/{id}' leaves"),
        ('"/v1/tasks/{id}"', '"/v1/tasks/{task}"', "9: poll: no name {task}; known: {app}, {id}, "),
        ('"/v1/tasks/{id}"', '"/v1/tasks"', "9: poll: nothing names the job"),
        (', header = "x-signature"', "", "10: callback.proof: hmac needs header"),
        ('"x-signature"', '"X Signature"', "10: callback.proof.header: must be the name of a header"),
        ('"hmac"', '"md5"', "10: callback.proof.scheme: must be 'none', 'secret'"),
        ('"video image"', '"^video.*$"', "18: operations: '^video.*$' is no name"),
        ('"video image"', '"video video"', "18: operations: a name is there twice"),
        ('"video image"', '"*"', "18: operations: name at least one"),
        ('"video image"', '"video */"', "18: operations: '*/' is no name"),
        ('"video image"', '"video *ings"', "18: operations: '*ings' is no name"),
        ('"/v1/{name}"', '"/v1/{id}"', "18: operations.path: no name {id}; known: {name}"),
        (
            '{ at = "/url" }',
            '{ at = "/url", below = "/x" }',
            "14: files.0: needs exactly one of at and below",
        ),
        ('{ at = "/url" }', '{ at = "/url", source = true }', "13: files.source: needs the call [resolve]"),
        (
            '{ at = "/url" }',
            '{ at = "/url", life = "soon" }',
            "14: files.0.life: must be a number with its unit",
        ),
        ('{ all = "unconfirmed" }', '{ poll = "official" }', "5: confidence: needs `all`"),
        ('sources = ["the page, read 2026-11-29"]\n', "", "1: sources: is needed"),
        ('"/headers/x-region"', '"/name"', "23: settings.region.sets: '/name' is no place"),
        (
            '"/headers/x-region"',
            '"/hedders/x"',
            "23: settings.region.sets: the description has no '/hedders/x'",
        ),
        ('"https://api.acme.example"', '"api.acme.example"', "2: base_url: must be a URL such as https://"),
        ("checked = 2026-11-29", 'checked = "soon"', "3: checked: must be a valid date"),
        ('{ at = "/url" }', '{ at = "/url", facts = { duration = "/a~2" } }', "~ is written ~0"),
        ("example =", 'auth = "body:/a~2"\nexample =', "~ is written ~0"),
        (
            'path = "/v1/{name}" }',
            'path = "/v1/{name}", former = { old = "*" } }',
            "there is no operation '*'",
        ),
        ("example =", "cadence = { interval = inf }\nexample =", "cadence.interval"),
        ("[settings.region]", "[settings.model_config]", "may not begin with `model_`"),
        ('"body:/webhook" }', '"body:/webhook", idempotency = "header:Bad Name" }', "no name of a header"),
        ("example =", 'headers = { x-a = "1\\r\\nevil: 2" }\nexample =', "headers.x-a"),
        (
            'say = "the region"',
            'say = "s"\nkind = "choice"\nchoices = ["a"]\ndefault = "b"',
            "one of the choices",
        ),
        (
            GOOD.partition("poll =")[1] + GOOD.partition("poll =")[2].partition("example")[0].rstrip(),
            'callback.proof = { scheme = "hmac", header = "x-a", optional = true, key = "account" }',
            "[poll] is needed",
        ),
        (
            "example =",
            'headers = { transfer-encoding = "chunked" }\nexample =',
            "headers.transfer-encoding: 'transfer-encoding' is set by the request itself",
        ),
        (
            '"body:/webhook"',
            '"header:Content-Length"',
            "8: submit.callback: 'Content-Length' is set by the req",
        ),
        ("example =", 'auth = "header:host"\nexample =', "11: auth: 'host' is set by the request itself"),
        ('"body:/webhook" }', '"body:/webhook", with_callback = { "a~2" = 1 } }', "submit.with_callback.a~2"),
        (
            '"body:/webhook" }',
            '"body:/webhook", kept = { at = "/u", origins = ["https://acme.example/"] } }',
            "submit.kept.origins.0: must be an origin such as https://host",
        ),
        (
            'poll = { path = "/v1/tasks/{id}" }',
            'auth = "body:/key"\npoll = { method = "POST", path = "/v1", body = [{ id = "{id}" }] }',
            "10: poll.body: auth puts the key into an object; a list has no place for it",
        ),
        (
            "[settings.region]",
            '[settings.foo]\nkind = "secret"\ndefault = "abc"\nsay = "s"\n[settings.region]',
            "settings.foo.default: a secret has none",
        ),
        ("[settings.region]", "[settings.max_jobs]", "settings.max_jobs: is a setting of every account"),
        (
            'path = "/v1/{name}" }',
            'path = "/v1/{name}", poll = false, callback = false }',
            "operations.0: neither a",
        ),
        ('fields = { id = "/id", status', "fields = { status", "fields.id: is needed"),
        ('secret = "header:x-secret", ', "", "10: callback.proof.key: the job's secret is sent to nobody"),
        (
            'header = "x-signature"',
            'header = "x-signature", time = "t"',
            "10: callback.proof.signature: is needed",
        ),
        (
            'header = "x-signature"',
            'header = "x-signature", message = "{header:x y}.{body}"',
            "callback.proof.message: no part {header:x y}",
        ),
        ('header = "x-signature"', 'header = "x-signature", message = "{body}{"', "message: no part {{}"),
        (
            '"body:/webhook"',
            '"header:X-Secret"',
            "8: submit.secret: 'header:x-secret' is the place of submit.callback",
        ),
        (
            '"header:x-secret"',
            '"body:/webhook"',
            "8: submit.secret: 'body:/webhook' is the place of submit.callback",
        ),
        ('"body:/webhook"', '"body:/*/url"', "8: submit.callback: `*` stands for several places"),
        (
            '"body:/webhook"',
            '"header:authorization"',
            "submit.callback: 'header:authorization' is the place of auth",
        ),
        (
            "example =",
            'headers = { authorization = "x" }\nexample =',
            "headers.authorization: is the header of the",
        ),
        ('"body:/webhook" }', '"body:/webhook", always = { webhook = 1 } }', "is the place of submit.always"),
        (
            'path = "/v1/tasks/{id}" }',
            'path = "/v1/tasks/{id}", body = { a = 1 } }',
            "9: poll.method: a GET has no",
        ),
        ('"/v1/tasks/{id}"', '"/v1/../{id}"', "9: poll.path: '/v1/../{id}' leaves the origin"),
        (
            "example =",
            'errors = { account = ["E"], rejected = ["E"] }\nexample =',
            "'E' stands in account and in rej",
        ),
        (
            "example =",
            'ok = { at = "/c", equals = ["0", "1"], wrong = ["1"] }\nexample =',
            "11: ok.wrong: '1' stands in equals",
        ),
        (
            "[settings.region]",
            'rules = [{ at = "/x/*", needs = { a = "b" }, required = ["c"] }]\n[settings.region]',
            "rules.0: needs and excludes are about values; put required into a rule of its own",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line_and_fix(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert said in told(tmp_path, GOOD.replace(old, new, 1))


def test_a_callback_that_does_not_cover_its_body_needs_a_poll(tmp_path: Path) -> None:
    without = GOOD.replace('poll = { path = "/v1/tasks/{id}" }\n', "")
    (tmp_path / "acme.toml").write_text(without)
    assert loading.load(tmp_path / "acme.toml").told.poll is None
    for proof in (
        '{ scheme = "none" }',
        '{ scheme = "hmac", header = "x-s", covers_body = false }',
    ):
        text = without.replace('{ scheme = "hmac", header = "x-signature" }', proof)
        assert "callback: one whose proof does not cover its body is a hint" in told(tmp_path, text)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    said = told(tmp_path, GOOD.replace("submit = {", "submitt = {").replace('"/more/*"', '"more"'))
    assert "submitt: unknown key" in said
    assert "files.1.at.0" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "is not valid TOML"),
        ("name = acme", "is not valid TOML (texts stand in quotes)"),
        ("a." * 5000 + "b = 1", "is n"),
        ("x = " + "[" * 5000 + "]" * 5000, "is nested too deeply"),
        ("# " + "x" * LARGEST, "has more than 64 KiB"),
        ("x" * 2_000_000, "has more than 64 KiB"),
    ],
)
def test_a_text_that_is_no_description_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in told(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadDescription, match=r"nothing\.toml: cannot be read: No such file"):
        loading.load(tmp_path / "nothing.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe4"')
    with pytest.raises(BadDescription, match="is not UTF-8"):
        loading.load(tmp_path / "latin.toml")


def test_a_description_extends_another_in_part(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(GOOD)
    path = tmp_path / "mine.toml"
    path.write_text(
        'extends = "base.toml"\nname = "mine"\nwithout = ["callback"]\n[words]\nGONE = "failed"\n'
    )
    # Without [callback] the callback URL goes nowhere, so the submission has to change, too.
    with pytest.raises(BadDescription, match=r"submit\.callback: needs a table"):
        loading.load(path)
    path.write_text(
        'extends = "base.toml"\nname = "mine"\nwithout = ["callback", "submit"]\n[words]\nGONE = "failed"\n'
    )
    made = loading.load(path).told
    assert (made.name, made.callback, len(made.words)) == ("mine", None, 3)
    shipped = loading.load(DESCRIBED / "gately.toml").told
    assert shipped.words == loading.load(DESCRIBED / "minimax.toml").told.words


def test_a_mistake_is_told_in_the_file_in_which_it_stands(tmp_path: Path) -> None:
    base, path = tmp_path / "base.toml", tmp_path / "mine.toml"
    base.write_text(GOOD.replace('status = "/status"', 'status = "status"'))
    path.write_text('extends = "base.toml"\nname = "mine"\n\n[callback.proof]\nencoding = "hexx"\n')
    with pytest.raises(BadDescription) as caught:
        loading.load(path)
    assert {one.partition(": ")[0] for one in caught.value.lines} == {f"{base}:7", f"{path}:5"}
    # A list is taken over as a whole, and a table that only holds tables has the line of the first.
    base.write_text(GOOD)
    path.write_text(
        'extends = "base.toml"\nname = "mine"\nfiles = [\n  { at = "/a" },\n  { att = "/b" },\n]\n'
    )
    with pytest.raises(BadDescription) as caught:
        loading.load(path)
    assert {one.partition(": ")[0] for one in caught.value.lines} == {f"{path}:5"}
    path.write_text(
        'extends = "base.toml"\nname = "mine"\n\n[callback.proof]\nscheme = "none"\n'
        '[settings.a]\nkind = "secret"\n'
    )
    with pytest.raises(BadDescription) as caught:
        loading.load(path)
    assert {one.partition(": ")[0] for one in caught.value.lines} == {f"{path}:6"}


def test_descriptions_that_extend_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('extends = "b.toml"\n')
    (tmp_path / "b.toml").write_text('extends = "a.toml"\n')
    with pytest.raises(BadDescription, match="extends itself: a"):
        loading.load(tmp_path / "a.toml")
    for number in range(6):
        (tmp_path / f"{number}.toml").write_text(f'extends = "{number + 1}.toml"\n')
    with pytest.raises(BadDescription, match="more than 4 descriptions"):
        loading.load(tmp_path / "0.toml")


def test_an_unknown_base_is_refused(tmp_path: Path) -> None:
    assert "1: extends: must be a shipped description" in told(tmp_path, 'extends = "minmax"\n')


def test_a_former_name_may_stand_before_the_group_of_its_present_one(tmp_path: Path) -> None:
    groups = '{ names = "b", path = "/v1/b", former = { old = "video" } },\n  { names = "video image"'
    (tmp_path / "acme.toml").write_text(GOOD.replace('{ names = "video image"', groups, 1))
    made = making.handler(loading.load(tmp_path / "acme.toml").told)
    assert made.operations["old"] == made.operations["video"]


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "acme.toml"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path)
    with pytest.raises(BadDescription, match=r"is no file|leads back to itself"):
        loading.load(path)


def test_tables_to_leave_out_are_a_list(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(GOOD)
    assert "2: without: must be a list" in told(tmp_path, 'extends = "base.toml"\nwithout = 5\n')
    said = told(tmp_path, 'extends = "base.toml"\nwithout = ["pol"]\n')
    assert "2: without: there is no table 'pol' to leave out; known: name, " in said
    assert "1: operations: is needed" in told(tmp_path, 'extends = "base.toml"\nwithout = ["operations"]\n')
