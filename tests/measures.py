"""Measures of how the code is laid out and described. `python -m tests.measures` prints them."""

import ast
import functools
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parents[1]
RECEIVER, HANDLERS, CLIENT = HERE / "receiver", HERE / "handlers", HERE / "client" / "ringback"
MIRRORS = {RECEIVER: HERE / "tests" / "receiver", CLIENT: HERE / "tests" / "client"}
"""The folder of the tests of each package."""
PRONOUN = re.compile(
    r"\b(what|who|whom|whose|whoever|whatever|whichever|nobody|everybody|somebody|anybody|no one)\b"
    r"|\bthat which\b|\bthe other side\b",
    re.IGNORECASE,
)
"""Words on which a sentence rests instead of on a noun."""
LINT = re.compile(r"#\s*(?:type: ignore|noqa|!)")
BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.Try,
    ast.Match,
    ast.BoolOp,
    ast.comprehension,
)


def sources(*folders: Path) -> list[Path]:
    """Return the Python files below these folders."""
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"))


def trees(*folders: Path) -> Iterator[tuple[Path, ast.Module]]:
    """Yield each file with its syntax tree."""
    for path in sources(*folders):
        yield path, tree_of(path)


def flat_modules() -> list[str]:
    """Return the modules that lie in `receiver/` itself."""
    return sorted(path.name for path in RECEIVER.glob("*.py"))


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Yield the docstrings of a module, of its classes, functions and constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            said = ast.get_docstring(node)
            if said:
                yield said
        if isinstance(node, ast.Module | ast.ClassDef):
            for before, after in zip(node.body, node.body[1:], strict=False):
                if not isinstance(before, ast.Assign | ast.AnnAssign) or not isinstance(after, ast.Expr):
                    continue
                if isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
                    yield after.value.value


def docstrings_on_pronouns(*folders: Path) -> tuple[int, int]:
    """Return how many docstrings rest on a pronoun in their first line, and the number of docstrings."""
    first_lines = [said.strip().split("\n")[0] for _, tree in trees(*folders) for said in docstrings(tree)]
    return sum(bool(PRONOUN.search(line)) for line in first_lines), len(first_lines)


def comments(*folders: Path) -> tuple[int, int]:
    """Return the number of comments that are no instructions to a linter, and that of the lines of code.

    A comment of several lines counts once.
    """
    count = lines = 0
    for path in sources(*folders):
        text = path.read_text("utf-8")
        lines += sum(bool(line.strip()) for line in text.splitlines())
        last = -1
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and not LINT.match(token.string):
                count += token.start[0] != last + 1
                last = token.start[0]
    return count, lines


def shared_class_names(*folders: Path) -> Mapping[str, Sequence[str]]:
    """Return the class names that several modules below these folders define, with those modules."""
    homes: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees(*folders):
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path.relative_to(HERE)))
    return {name: paths for name, paths in sorted(homes.items()) if len(paths) > 1}


def has_logic(tree: ast.Module) -> bool:
    """Return whether a function of the module decides or repeats something."""
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return any(isinstance(node, BRANCHES) for function in functions for node in ast.walk(function))


def mirrored(package: Path) -> tuple[list[str], list[str]]:
    """Return the modules with logic that have a test file of their name, and those that have none."""
    have: list[str] = []
    lack: list[str] = []
    for path, tree in trees(package):
        name = path.relative_to(package).with_suffix("")
        if path.name != "__init__.py" and has_logic(tree):
            folder = MIRRORS[package] / name.parent
            there = (folder / f"test_{name.name}.py").exists() or any(folder.glob(f"test_{name.name}_*.py"))
            (have if there else lack).append(str(name))
    return have, lack


def imported_modules(tree: ast.Module, known: Mapping[str, Path]) -> set[str]:
    """Return the modules of the service that a module imports, those for type checkers included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                found.add(inner if inner in known else node.module)
    return found & known.keys()


def circles(package: Path) -> list[list[str]]:
    """Return the groups of modules of a package that import each other in a circle."""
    known = {_dotted(path, package): path for path in sources(package)}
    arrows = {name: imported_modules(tree_of(path), known) - {name} for name, path in known.items()}
    reach = {name: _reachable(name, arrows) for name in arrows}
    groups = {tuple(sorted(b for b in reach[a] if a in reach[b])) for a in arrows if a in reach[a]}
    return [list(group) for group in sorted(groups)]


def _dotted(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")


def _reachable(start: str, arrows: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = list(arrows[start])
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += arrows[name]
    return seen


def report() -> Iterator[str]:
    """Yield each measure with its figure and its bar."""
    yield f"modules lying flat in receiver/        {len(flat_modules())} (at most 4)"
    for package in (RECEIVER, CLIENT):
        yield f"{package.name}: circles among modules  {len(circles(package))} (none)"
    for folder in (RECEIVER, HANDLERS, CLIENT):
        bad, count = docstrings_on_pronouns(folder)
        noted, lines = comments(folder)
        yield f"{folder.name}: docstrings on pronouns    {bad} of {count}, {bad / count:.1%} (none)"
        yield f"{folder.name}: comments per 100 lines    {100 * noted / lines:.2f} (at least 1)"
    yield f"class names in two modules             {len(shared_class_names(RECEIVER, HANDLERS))} (at most 4)"
    for package in (RECEIVER, CLIENT):
        have, lack = mirrored(package)
        share = len(have) / (len(have) + len(lack))
        yield f"{package.name}: modules with a test file of their name  {len(have)}, {share:.0%} (75 %)"
        yield f"without one: {', '.join(lack) or 'none'}"


if __name__ == "__main__":
    print(*report(), sep="\n")
