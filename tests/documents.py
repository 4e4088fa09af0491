"""Code samples of the documents."""

import re


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
