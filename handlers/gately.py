"""Gately (also Taam Cloud), a gateway in front of MiniMax. Read 2026-08: docs.gately.ai, video generation.

Official: the flow and the words. Not published: the API host and the three paths, hence settings; the
paths default to MiniMax's own, the host has no default. No callback is mentioned, so jobs are polled.
"""

from handlers.contract import Handler, Provider
from handlers.minimax import MiniMaxPaths, speaking


class GatelyOptions(MiniMaxPaths):
    """Where this gateway keeps MiniMax's three calls; unconfirmed."""


def configure(options: GatelyOptions) -> Handler:
    """The handler for an account with these settings."""
    return speaking("gately", "", options, callback=None)


PROVIDER = Provider("gately", GatelyOptions, configure)
