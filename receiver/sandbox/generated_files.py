"""The files of simulated jobs: small, and such as browsers show them."""

import functools
from collections.abc import Mapping
from importlib import resources

TYPES: Mapping[str, str] = {
    "mp4": "video/mp4",
    "png": "image/png",
    "mp3": "audio/mpeg",
    "glb": "model/gltf-binary",
}
"""The media types of the files, by ending."""


def ending_of(path: str) -> str:
    """Return the ending of a file in `TYPES`; that of a video for any other."""
    ending = path.rsplit(".", 1)[-1].lower()
    return ending if ending in TYPES else "mp4"


@functools.cache
def content(ending: str) -> bytes:
    """Return the content of the file with an ending in `TYPES`."""
    return (resources.files("receiver.sandbox") / "media" / f"tide.{ending}").read_bytes()
