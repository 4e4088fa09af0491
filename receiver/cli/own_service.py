"""The service of this machine's settings, which commands call when the environment names none."""

import os

import click

from receiver.cli.service import ANY_HOST, KEY, KEY_FILE, URL, Service, read_key
from receiver.cli.terminal import tell
from receiver.config.key_files import API_KEY_FILE
from receiver.config.load import load
from receiver.config.settings import Settings
from receiver.store import database_path
from receiver.store.postgres.url import is_postgres


def own_service(url: str | None) -> Service:
    """Return this machine's service, with its key only if `url` is None or one of the service's own URLs."""
    environment = {name: text for name, text in os.environ.items() if name not in {KEY, KEY_FILE}}
    settings = load(None, environment).settings
    host = ANY_HOST.get(settings.host, settings.host)
    own = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    if url is None and not settings.port:
        raise click.UsageError(f"the settings leave the port open (0): set {URL}")
    # The admin key of this machine must not be sent to another service.
    ours = {None, own, settings.public_url, f"http://localhost:{settings.port}"}
    return Service(own, _key(settings) if url in ours else "")


def say_whose_settings() -> None:
    """Print a note that the command reads the settings of this machine, if RINGBACK_URL is set."""
    if os.environ.get(URL):
        tell(f"these are the settings of this machine; the service that {URL} names is not asked", err=True)


def _key(settings: Settings) -> str:
    if settings.admin_key is not None:
        return settings.admin_key.get_secret_value()
    if settings.data_dir is None and is_postgres(settings.database_url):
        return ""
    folder = settings.data_dir or database_path(settings.database_url).resolve().parent
    return read_key(folder / API_KEY_FILE, "data_dir", needed=False)
