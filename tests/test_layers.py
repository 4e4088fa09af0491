"""The structural rules of the code: imports point down, functions and modules stay small."""

import ast
import functools
import itertools
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests import measures
from tests.measures import HERE, RECEIVER, sources, tree_of

# One process reads each file once for all rules.
pytestmark = pytest.mark.xdist_group("sources")
SERVICE, HANDLERS, CLIENT = sources(RECEIVER), sources(measures.HANDLERS), sources(measures.CLIENT)
SOURCES = sources(RECEIVER, measures.HANDLERS, HERE / "client", HERE / "tests")
FUNCTION_LINES = 40
MODULE_LINES = 400

README = RECEIVER / "README.md"
ROW = re.compile(r"^\| \d+ \| (?P<rooms>.+?) \|", re.MULTILINE)
LAYERS = [set(re.findall(r"`(\w+)`", row["rooms"])) for row in ROW.finditer(README.read_text("utf-8"))]
"""The modules and folders of each layer, lowest first: a module imports from its own layer or lower ones."""
PURE = {"domain", "security"}
NOT_PURE = {"asyncio", "time", "random", "secrets", "os", "socket", "logging", "httpx", "httptools", "ssl"}
CLOCK = RECEIVER / "domain" / "clock.py"
"""The one module of the domain that asks the system for the time. The others receive it as an argument."""
# Libraries, each with the only places that may import it.
KNOWN_IN = {
    "httptools": {"egress/http1", "api/server"},
    "aiodns": {"egress/resolver"},
    "sqlite3": {"store"},
    "aiosqlite": {"store"},
    "asyncpg": {"store"},
    "starlette": {"api", "app", "observability", "sandbox", "cli", "demo"},
    "uvicorn": {"api/server", "api/fast_path", "demo", "cli"},
    "click": {"cli", "__main__", "demo"},
    "rich": {"cli", "demo"},
    "markdown_it": {"api/markdown"},
    "httpx": {"cli", "sandbox", "demo"},
    "opentelemetry": {"tracing/otlp"},
    "prometheus_client": {"metrics/exposition"},
}
# The same for the client, whose other modules do nothing but compute.
KNOWN_IN_CLIENT = {
    "httpx": {"wire", "blocking", "awaiting"},
    "cryptography": {"signatures"},
    "asyncio": {"awaiting"},
    "time": {"blocking", "retrying", "webhooks"},
    "random": {"retrying"},
    "os": {"retrying", "places", "settings"},
    "logging": {"following"},
}
# Files that may catch every exception: a caller waits for an answer in any case, or something must be
# cleaned up.
CATCHES_ALL = {
    "work/worker",
    "work/periodic",
    "egress/client",
    "egress/dialer",
    "events/recorder",
    "api/callbacks",
    "api/routing",
    "store/__init__",
    "store/group_commit",
    "store/emission",
    "store/sqlite/driver",
    "store/sqlite/readers",
    "store/postgres/driver",
    "store/postgres/transaction",
}


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    """Return every node of a file's syntax tree."""
    return list(ast.walk(tree_of(path)))


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """Return the dotted names of a file's imported modules. Names from a package count as its modules."""
    names: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{name.name}" for name in node.names)
    return frozenset(names)


def unit(path: Path) -> str:
    """Return the module or folder of `receiver` to which a file belongs; "" for the package itself."""
    first = path.relative_to(RECEIVER).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def inner(path: Path) -> str:
    """Return a file's path in `receiver` without its suffix; elsewhere, its path in the repository."""
    return str(path.relative_to(RECEIVER if path.is_relative_to(RECEIVER) else HERE).with_suffix(""))


def broken(paths: Iterable[Path], rule: Callable[[Path], Iterable[object]]) -> dict[str, list[object]]:
    """Return for each file that breaks a rule the places where it does, which `rule` names."""
    found = {str(path.relative_to(HERE)): list(rule(path)) for path in paths}
    return {name: places for name, places in found.items() if places}


def level(name: str) -> int:
    """Return the layer of a module."""
    return next(number for number, names in enumerate(LAYERS) if name in names)


def test_every_module_has_its_layer() -> None:
    assert {unit(path) for path in SERVICE} - {""} == set(itertools.chain(*LAYERS))


def test_imports_point_down() -> None:
    known = set(itertools.chain(*LAYERS))

    def upwards(path: Path) -> Iterable[str]:
        ours = unit(path)
        theirs = {name.split(".")[1] for name in imported(path) if name.startswith("receiver.")}
        return {name for name in theirs & known if ours and level(name) > level(ours)}

    assert broken(SERVICE, upwards) == {}


def test_a_library_is_known_where_it_is_used_and_nowhere_else() -> None:
    def strange(path: Path) -> Iterable[str]:
        used = {name.split(".")[0] for name in imported(path)}
        theirs = {unit(path), inner(path)}
        return {library for library in used & KNOWN_IN.keys() if not theirs & KNOWN_IN[library]}

    assert broken(SERVICE, strange) == {}


def test_a_pure_module_takes_time_chance_and_the_network_as_arguments() -> None:
    pure = [path for path in SERVICE if unit(path) in PURE and path != CLOCK]

    def impure(path: Path) -> Iterable[str]:
        now = re.findall(r"datetime\.now\(", path.read_text("utf-8"))
        return [*({name.split(".")[0] for name in imported(path)} & NOT_PURE), *now]

    assert len(pure) > 20
    assert broken(pure, impure) == {}


def test_handlers_do_no_io_and_read_no_clock() -> None:
    def outside(path: Path) -> Iterable[str]:
        used = {name.split(".")[0] for name in imported(path)}
        clocks = re.findall(r"\b(?:now|utcnow|today)\(", path.read_text("utf-8"))
        return [*(used & (NOT_PURE | {"receiver", "starlette", "aiohttp", "requests"})), *clocks]

    assert broken(HANDLERS, outside) == {}


def test_the_client_needs_httpx_alone_and_its_core_no_input_and_output() -> None:
    def needless(path: Path) -> Iterable[str]:
        used = {name.split(".")[0] for name in imported(path)} - {"ringback"}
        ours = path.relative_to(HERE / "client" / "ringback").with_suffix("").as_posix()
        strange = used - sys.stdlib_module_names - {"httpx", "cryptography"}
        careful = used & (KNOWN_IN_CLIENT.keys() | NOT_PURE)
        return strange | {library for library in careful if ours not in KNOWN_IN_CLIENT.get(library, ())}

    assert CLIENT
    assert broken(CLIENT, needless) == {}


def test_the_worker_knows_no_kind_of_work() -> None:
    worker = RECEIVER / "work" / "worker.py"
    theirs = {name.split(".")[1] for name in imported(worker) if "receiver." in name}
    assert theirs <= {"domain", "store", "work"}


def test_everything_is_caught_only_where_this_list_says() -> None:
    def broad(path: Path) -> Iterable[int]:
        return [
            node.lineno
            for node in nodes(path)
            if isinstance(node, ast.ExceptHandler)
            and (
                node.type is None
                or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"})
            )
        ]

    assert (
        broken([path for path in SERVICE + HANDLERS + CLIENT if inner(path) not in CATCHES_ALL], broad) == {}
    )


def test_modules_and_functions_are_small() -> None:
    def large(path: Path) -> Iterable[str | int]:
        lines = len(path.read_text("utf-8").splitlines())
        long = (
            node.name
            for node in nodes(path)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES
        )
        return [*long, *([lines] if lines > MODULE_LINES else [])]

    assert broken(SOURCES, large) == {}


def test_what_a_check_is_told_to_overlook_is_named_and_explained() -> None:
    def unexplained(path: Path) -> Iterable[str]:
        for line in path.read_text("utf-8").splitlines():
            found = re.search(r"# (?:type: ignore|noqa)(.*)", line)
            if found and not re.match(r"(?:\[[\w,-]+\]|: [A-Z]+\d+)\s+# \S", found[1]):
                yield line

    assert broken(SOURCES, unexplained) == {}
