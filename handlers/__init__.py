"""The providers that Ringback speaks to: one line each."""

from handlers import aiml, apiframe, apiframe_v2, gately, getimg, imagineo, minimax, replicate
from handlers.contract import Provider

ALL: dict[str, Provider] = {
    module.PROVIDER.name: module.PROVIDER
    for module in (
        aiml,
        apiframe,
        apiframe_v2,
        gately,
        getimg,
        imagineo,
        minimax,
        replicate,
    )
}
