"""The samples of "Receiving events": each takes real deliveries and refuses forged, changed and old ones."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from receiver.api.event_examples import EXAMPLES
from receiver.api.receiving import receiving
from receiver.config.settings import Settings
from receiver.security.signing import headers as signed
from receiver.security.signing import key_of, new_secret
from tests import node
from tests.documents import samples, section

VERIFY = section(receiving(Settings()), "## Verify")
SHELL = samples(section(receiving(Settings()), "## Ten minutes with curl"), "sh verify.sh")
SECRET, OTHER = new_secret(b"s" * 24), new_secret(bytes(range(200, 256)))
ASYMMETRIC = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OLD = 400
"""Seconds by which a timestamp is off in a delivery that is refused: the samples allow 300."""

Case = dict[str, Any]


def case(body: bytes, headers: Mapping[str, str], *, good: bool, secret: str = SECRET) -> Case:
    """Return a delivery, and whether it is good."""
    return {"body": body.decode(), "headers": dict(headers), "secret": secret, "good": good}


def delivery(event: Mapping[str, Any], *secrets: str, late: int = 0, both: bool = False) -> Any:
    """Return the body and the headers of a delivery that was signed `late` seconds ago."""
    body = json.dumps(event, ensure_ascii=False).encode()
    timestamp = int(datetime.now(UTC).timestamp()) - late
    keys = [key_of(secret) for secret in secrets or (SECRET,)]
    return body, dict(signed(event["id"], timestamp, body, keys, [ASYMMETRIC] if both else []))


def good_cases() -> list[Case]:
    """Return good deliveries: of every type, of a rotation, with both schemes, with bytes beyond ASCII."""
    event = EXAMPLES["job.succeeded"]
    deliveries = [
        *(delivery(one) for one in EXAMPLES.values()),
        delivery(event, OTHER, SECRET),
        delivery(event, SECRET, OTHER),
        delivery(event, OTHER, SECRET, both=True),
        delivery(event | {"data": {"prompt": "Überfahrt, 潮"}}),
        delivery(event, late=200),
    ]
    return [
        *(case(body, headers, good=True) for body, headers in deliveries),
        case(*delivery(event, OTHER), good=True, secret=OTHER),
    ]


def bad_cases() -> list[Case]:
    """Return deliveries that are changed, old, early, incomplete, or signed with another secret."""
    body, headers = delivery(EXAMPLES["job.succeeded"])
    signature, stamp = headers["webhook-signature"], headers["webhook-timestamp"]
    asymmetric = delivery(EXAMPLES["job.succeeded"], both=True)[1]["webhook-signature"].split(" ")[1]
    changes: Sequence[Mapping[str, str]] = (
        {"webhook-id": "evt_another"},
        {"webhook-timestamp": str(int(stamp) - 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "now"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": signature[:-1]},
        {"webhook-signature": signature.removeprefix("v1,")},
        {"webhook-signature": signature.replace("v1,", "v2,")},
        {"webhook-signature": asymmetric},
        {"webhook-signature": signature.swapcase().replace("V1", "v1")},
    )
    return [
        case(body.replace(b"succeeded", b"failed", 1), headers, good=False),
        case(body + b"\n", headers, good=False),
        case(body, headers, good=False, secret=OTHER),
        case(*delivery(EXAMPLES["job.failed"], late=OLD), good=False),
        case(*delivery(EXAMPLES["job.failed"], late=-OLD), good=False),
        *(case(body, headers | change, good=False) for change in changes),
        *(case(body, {k: v for k, v in headers.items() if k != name}, good=False) for name in headers),
    ]


def in_python(_folder: Path, code: str, cases: Sequence[Case]) -> list[bool]:
    """Return the deliveries that the sample takes."""
    space: dict[str, Any] = {}
    exec(code, space)  # noqa: S102  # the text's sample

    def takes(one: Case) -> bool:
        try:
            event = space["verify"](one["body"].encode(), one["headers"], one["secret"])
        except ValueError:
            return False
        assert event == json.loads(one["body"])
        return True

    return [takes(one) for one in cases]


DRIVERS = {
    "js": """
import { readFileSync } from "node:fs";
const takes = ({ body, headers, secret }) => {
  try {
    return JSON.stringify(verify(Buffer.from(body), headers, secret)) === JSON.stringify(JSON.parse(body));
  } catch {
    return false;
  }
};
console.log(JSON.stringify(JSON.parse(readFileSync("cases.json", "utf8")).map(takes)));
""",
    "php": """
echo json_encode(array_map(function ($one) {
    try {
        return verify($one['body'], $one['headers'], $one['secret']) === json_decode($one['body'], true);
    } catch (RuntimeException) {
        return false;
    }
}, json_decode(file_get_contents('cases.json'), true)));
""",
    "ruby": """
puts JSON.generate(JSON.parse(File.read("cases.json")).map { |one|
  begin
    verify(one["body"], one["headers"], one["secret"]) == JSON.parse(one["body"])
  rescue ArgumentError
    false
  end
})
""",
    "go": """
package main

import (
	"encoding/json"
	"os"
)

func main() {
	var cases []struct {
		Body, Secret string
		Headers      map[string]string
	}
	text, _ := os.ReadFile("cases.json")
	if err := json.Unmarshal(text, &cases); err != nil {
		panic(err)
	}
	taken := []bool{}
	for _, one := range cases {
		header := func(name string) string { return one.Headers[name] }
		taken = append(taken, Verify([]byte(one.Body), header, one.Secret) == nil)
	}
	json.NewEncoder(os.Stdout).Encode(taken)
}
""",
}
"""The program behind each sample that prints which of the deliveries in `cases.json` it takes."""


def in_javascript(folder: Path, code: str, cases: Sequence[Case]) -> list[bool]:
    """Return the deliveries that the sample takes, of one process."""
    taken: list[bool] = node.run(folder, code + DRIVERS["js"], cases=cases)
    return taken


def in_go(folder: Path, code: str, cases: Sequence[Case]) -> list[bool]:
    """Return the deliveries that the sample takes. Unless all samples are wanted, it is only parsed."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed here: its sample is not run")
    (folder / "sample.go").write_text(code.replace("package hooks", "package main") + "\n")
    shown = subprocess.run(
        ["gofmt", "-d", "sample.go"], cwd=folder, capture_output=True, text=True, check=False, timeout=100
    )
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "", "")
    if not os.environ.get("RINGBACK_ALL_SAMPLES"):
        pytest.skip("go compiles its library for 15 s of CPU: RINGBACK_ALL_SAMPLES=1 runs its sample")
    (folder / "main.go").write_text(DRIVERS["go"])
    return by("go", "run", "main.go", "sample.go")(folder, "", cases)


def by(*command: str) -> Callable[[Path, str, Sequence[Case]], list[bool]]:
    """Return a function that runs a sample with a program of this machine. Skips where there is none."""

    def run(folder: Path, code: str, cases: Sequence[Case]) -> list[bool]:
        program, *arguments = command
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed here: its sample is not run")
        (folder / "cases.json").write_text(json.dumps(cases))
        if code:
            (folder / f"sample.{program}").write_text(code + DRIVERS[program])
        done = subprocess.run(
            [program, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        taken: list[bool] = json.loads(done.stdout)
        return taken

    return run


RUNNERS: Mapping[str, Callable[[Path, str, Sequence[Case]], list[bool]]] = {
    "python": in_python,
    "js": in_javascript,
    "go": in_go,
    "php": by("php", "sample.php"),
    "ruby": by("ruby", "sample.ruby"),
}


@pytest.mark.parametrize("language", RUNNERS)
def test_a_sample_takes_good_deliveries_and_no_others(language: str, tmp_path: Path) -> None:
    [code] = samples(VERIFY, language)
    cases = [*good_cases(), *bad_cases()]
    assert RUNNERS[language](tmp_path, code, cases) == [one["good"] for one in cases]


CONSTANT_TIME = {
    "python": "hmac.compare_digest(",
    "js": "timingSafeEqual(",
    "go": "hmac.Equal(",
    "php": "hash_equals(",
    "ruby": "OpenSSL.secure_compare(",
}
"""The function of each language that compares in constant time."""


def test_every_sample_compares_in_constant_time_and_there_are_no_others() -> None:
    assert VERIFY.count("```") == 2 * len(RUNNERS)
    assert set(CONSTANT_TIME) == set(RUNNERS)
    for language, compares in CONSTANT_TIME.items():
        [code] = samples(VERIFY, language)
        assert code.count(compares) == 1, language


def test_the_shell_s_sample_takes_good_deliveries_and_no_others(tmp_path: Path) -> None:
    [code] = SHELL
    (tmp_path / "verify.sh").write_text(code)
    cases = [*good_cases()[-6:], *bad_cases()]
    for number, one in enumerate(cases):
        place = tmp_path / f"{number:02}"
        place.mkdir()
        lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in one["headers"].items()), "", ""]
        (place / "head").write_bytes("\r\n".join(lines).encode())
        (place / "body").write_bytes(one["body"].encode())
        (place / "secret").write_text(one["secret"])
    loop = 'for one in ??; do sh verify.sh "$(cat $one/secret)" $one/head $one/body | cut -d: -f1; done'
    done = subprocess.run(
        ["sh", "-c", loop], cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["good" if one["good"] else "refused" for one in cases]
