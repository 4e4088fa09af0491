"""Hooks for `schemathesis`: generated calls wait for a moment only, and leave out the examples."""

from typing import Any

import schemathesis


@schemathesis.hook
def map_query(_context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Shorten a valid `wait` to a moment. An invalid one stays as it is."""
    if query and isinstance(query.get("wait"), int | float) and 0 < query["wait"] <= 60:
        query["wait"] = 0.01
    return query


@schemathesis.hook
def before_load_schema(_context: Any, raw_schema: dict[str, Any]) -> None:
    """Remove the examples: they name hosts that must not be called from here."""
    for path in raw_schema["paths"].values():
        for call in path.values():
            for media in call.get("requestBody", {}).get("content", {}).values():
                media.pop("example", None)
