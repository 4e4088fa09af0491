"""Forward-only migrations: one folder per engine, one file per version, applied in order."""

from importlib import resources

from handlers.values import immutable


@immutable
class Migration:
    """One migration: its version, counted from 1, a readable name, and its statements."""

    version: int
    name: str
    sql: str


def migrations(engine: str) -> list[Migration]:
    """Return every migration of `engine`, in order."""
    folder = resources.files(__name__) / engine
    found = []
    for entry in folder.iterdir():
        if entry.name.endswith(".sql"):
            number, _, name = entry.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name.replace("_", " "), entry.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.version)
