"""The command `ringback providers`."""

from typing import Any

import click

from receiver.cli.client import call
from receiver.cli.output import (
    PROVIDER,
    formed,
    is_json,
    show_list,
)
from receiver.cli.params import (
    cursor,
    given,
    limit,
)


@click.command()
@cursor
@limit
@formed
def providers(**query: Any) -> None:
    """List accounts: whether each is on or blocked, and its operations.

    \b
    Example:
      ringback providers
      ringback providers --json
    """
    page = call("GET", "/v1/providers", params=given(**query))
    if not is_json():
        page["data"] = [
            one | {"operations": [operation["name"] for operation in one["operations"]]}
            for one in page["data"]
        ]
    show_list(page, PROVIDER)
