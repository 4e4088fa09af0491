"""JSON of one meaning: an object without doubled keys, NaN or numbers beyond all bounds."""

import json
from typing import Any, NoReturn


def read_object(body: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises `ValueError` for anything else."""
    try:
        given = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refused, parse_float=_finite
        )
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None
    if not isinstance(given, dict):
        raise ValueError("the body is no JSON object")
    return given


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("the body has a key twice")
    return made


def _refused(text: str) -> NoReturn:
    raise ValueError(f"the body holds {text}")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("the body holds a number that is too large")
    return number
