"""What `pip install` brings: the page, the types and the C audio path, from the wheel as from the source archive."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from os.path import normpath
from pathlib import Path

import pytest

from tests.processes import MODULE, ROOT, clean_environment, relay_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SOURCES = ("relay", "native", "static", "docs", "benchmarks", "tests")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def files_below(folder: str, pattern: str) -> set[str]:
    """Name what the checkout has, as the archives name it."""
    built = {".so", ".o", ".pyc"}
    found = (path for path in (ROOT / folder).rglob(pattern) if path.is_file() and path.suffix not in built)
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the source archive from a copy of the checkout, and the wheel from the source archive."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "*.o", "build", "__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, copy)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "made", "."]
    done = subprocess.run(command, cwd=copy, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return copy / "made"


@pytest.fixture(scope="module")
def wheel(archives: Path) -> set[str]:
    with zipfile.ZipFile(next(archives.glob("*.whl"))) as file:
        return set(file.namelist())


@pytest.fixture(scope="module")
def sources(archives: Path) -> set[str]:
    with tarfile.open(next(archives.glob("*.tar.gz"))) as file:
        return {name.partition("/")[2] for name in file.getnames()}


def test_the_wheel_has_the_page_and_all_that_it_loads(wheel: set[str]) -> None:
    page = {f"relay/{name}" for name in files_below("static", "*")}
    assert "relay/static/index.html" in page
    assert page <= wheel


def test_the_wheel_has_every_module_and_the_mark_that_it_is_typed(wheel: set[str]) -> None:
    assert files_below("relay", "*.py") <= wheel
    assert "relay/py.typed" in wheel


def test_the_wheel_has_the_prices(wheel: set[str]) -> None:
    assert "relay/prices.toml" in wheel


def test_the_wheel_has_the_built_c_module(wheel: set[str]) -> None:
    assert [name for name in wheel if name.startswith("relay/_native") and name.endswith(".so")]


def test_the_wheel_has_nothing_else(wheel: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel if ".dist-info/" not in name} == {"relay"}


def test_the_wheel_carries_the_licence(wheel: set[str]) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in wheel)


def test_the_source_archive_has_all_that_the_wheel_is_built_from(sources: set[str]) -> None:
    assert files_below("native", "*.[ch]") <= sources
    assert files_below("static", "*") <= sources
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "relay/py.typed"} <= sources


def test_the_source_archive_has_what_its_pages_link_to(sources: set[str]) -> None:
    pages = [name for name in sources if name.endswith(".md")]
    assert "docs/performance.md" in pages
    for page in pages:
        links = LINK.findall((ROOT / page).read_text())
        missing = {normpath(Path(page).parent / link) for link in links} - sources
        assert missing == set(), page


def test_the_source_archive_has_no_stray_tests(sources: set[str]) -> None:
    assert [name for name in sources if name.startswith("tests/")] == []


def test_what_the_wheel_installs_serves_the_page(archives: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([*command, str(next(archives.glob("*.whl")))], check=True, timeout=120)
    env = {"PYTHONPATH": str(target), "PYTHONSAFEPATH": "1"}
    code = "import relay, relay._native; print(relay.__file__, relay._native.__file__)"
    command = [sys.executable, "-c", code]
    where = subprocess.run(command, env=clean_environment(env), capture_output=True, text=True, check=True, timeout=60)
    assert where.stdout.count(str(target)) == 2
    with relay_process(program=MODULE, env=env) as relay:
        page = urllib.request.urlopen(relay.url, timeout=10).read()
    assert page == (ROOT / "static" / "index.html").read_bytes()
