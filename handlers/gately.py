"""The handler for Gately (also Taam Cloud), a gateway in front of MiniMax.

Source: https://docs.gately.ai/api-reference/endpoint/video-generation, read 2026-08.

Documented: the flow and the words. Not published and therefore settings: the API host, which has no default,
and the three paths, which default to MiniMax's own. No callback is mentioned, so jobs are polled.
"""

from handlers.contract import Handler, Provider
from handlers.minimax import MiniMaxPaths, speaking


class GatelyOptions(MiniMaxPaths):
    """The paths of MiniMax's three calls at this gateway. The defaults are unconfirmed."""


def configure(options: GatelyOptions) -> Handler:
    """Return the handler for an account with these settings."""
    return speaking("gately", "", options, callback=None)


PROVIDER = Provider("gately", GatelyOptions, configure)
