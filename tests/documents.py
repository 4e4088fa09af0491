"""Code samples of the documents, and deliveries to run them with."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from handlers import json
from receiver.security.signing import headers as signed
from receiver.security.signing import key_of, new_secret

SECRET = new_secret(b"s" * 32)


def samples(text: str, language: str) -> list[str]:
    """Return the samples of a document in one language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return ["\n".join(line.removeprefix(indent) for line in code.splitlines()) for indent, code in found]


def section(text: str, heading: str) -> str:
    """Return the part of a document below a heading, up to the next one of its level or above."""
    level, code, found = heading.index(" "), False, []
    for line in text.split(f"\n{heading}\n", 1)[1].splitlines():
        code ^= line.startswith("```")
        if not code and re.match(rf"#{{1,{level}}} ", line):
            break
        found.append(line)
    return "\n".join([*found, ""])


def delivery(event: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a delivery of an event, signed now."""
    body = json.write(event)
    timestamp = int(datetime.now(UTC).timestamp())
    return body, dict(signed(event["id"], timestamp, body, [key_of(SECRET)]))
