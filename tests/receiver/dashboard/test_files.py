"""The files of the dashboard: small, complete, vendored as their packages have them."""

import gzip
import hashlib
import re
from pathlib import PurePosixPath

import pytest

from receiver.dashboard import FILES, PREFIX, TYPES, load

DASHBOARD = load()
BASE = next(iter(DASHBOARD.files)).split("/")[2]
BUDGET = 80_000
"""Bytes of all JavaScript, compressed."""
VENDORED = re.compile(
    r"^\| `(?P<file>[^`]+)` \| (?P<package>\S+) \S+ \| `[^`]+` \| \S+ \| .* \| `(?P<hash>\w{64})` \|$",
    re.MULTILINE,
)
IMPORT = re.compile(r"""(?:from|import)\s*["']([^"']+)["']""")
MAP = "\n//# sourceMappingURL={}.map"


def test_all_javascript_fits_the_budget() -> None:
    sizes = {
        name: len(one.compressed) for name, one in DASHBOARD.files.items() if "javascript" in one.media_type
    }
    assert len(sizes) > 15
    assert sum(sizes.values()) <= BUDGET, sizes
    assert all(gzip.decompress(one.compressed) == one.body for one in DASHBOARD.files.values())


def test_every_file_lies_below_a_digest_and_every_import_leads_to_one() -> None:
    assert all(name.startswith(f"{PREFIX}/{BASE}/") for name in DASHBOARD.files)
    page = DASHBOARD.page.body.decode()
    for link in re.findall(r'(?:href|src)="(/dashboard/[^"]+)"', page):
        assert link in DASHBOARD.files
    for name, one in DASHBOARD.files.items():
        if "javascript" not in one.media_type:
            continue
        for target in IMPORT.findall(one.body.decode()):
            assert target.startswith("."), f"{name} imports {target}"
            parts: list[str] = []
            for part in (PurePosixPath(name).parent / target).parts:
                parts = parts[:-1] if part == ".." else [*parts, part]
            assert str(PurePosixPath(*parts)) in DASHBOARD.files, f"{name} imports {target}"


def test_the_digest_changes_with_any_file(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    assert load() == DASHBOARD
    read = type(FILES).read_bytes
    monkeypatch.setattr(
        type(FILES), "read_bytes", lambda path: read(path) + (b" " if path.name == "format.js" else b"")
    )
    assert not set(load().files) & set(DASHBOARD.files)


def test_nothing_evaluates_text_or_loads_from_elsewhere() -> None:
    for name, one in DASHBOARD.files.items():
        text = one.body.decode()
        assert not re.search(
            r"\beval\(|new Function\b|\.innerHTML\s*=|document\.write\b|dangerouslySet", text
        ) or (
            # Preact and uPlot know the names and use them for what their callers ask; ours ask for none.
            "/vendor/" in name and not re.search(r"\beval\(|new Function\b|document\.write\b", text)
        ), name
        if "/vendor/" not in name:
            assert not re.search(r"https?://(?!www\.w3\.org/2000/svg|shop\.example/)", text), name


def test_vendored_files_are_those_of_their_packages() -> None:
    folder = FILES / "vendor"
    table = {found["file"]: found for found in VENDORED.finditer((folder / "README.md").read_text("utf-8"))}
    assert set(table) == {path.name for path in folder.iterdir() if path.suffix in TYPES}
    for name, row in table.items():
        text = (folder / name).read_text("utf-8")
        if name.endswith(".mjs") and row["package"] == "preact":
            text = text.replace('from"./preact.mjs"', 'from"preact"').rstrip("\n") + MAP.format(name)
        candidates = {
            hashlib.sha256(one.encode()).hexdigest() for one in (text, text + "\n", text.rstrip("\n"))
        }
        assert row["hash"] in candidates, name
        assert (folder / f"LICENSE.{row['package']}").is_file()
