"""The code in the documentation runs, and the commands it names exist."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from swarmstate import errors
from swarmstate.layers import KeyRing, new_key

from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page.relative_to(ROOT)
    for pattern in ("*.md", "docs/*.md", "packages/*/README.md")
    for page in ROOT.glob(pattern)
)
# Their blocks run where CrewAI is installed; see `make crewai`.
OF_CREWAI = {Path("docs/crewai.md"), Path("packages/crewai-swarmstate/README.md")}
POSTGRES = "postgresql://user:password@localhost/agents"
REDIS = "redis://localhost:6379/0"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """Return the line number before each block of `language`, and its text."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start(2)), found[2])
        for found in BLOCK.finditer(text)
        if found[1] == language
    ]


def real_addresses(page: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """Map the server addresses that a page's blocks show to those of real servers.

    Nothing else in a block is changed, and a server runs only for pages that name it.
    """
    sources = "".join(source for _, source in blocks(page, "python"))
    addresses = {}
    if POSTGRES in sources:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        addresses[POSTGRES] = server.new_database()
    if REDIS in sources:
        redis_server: RedisServer = request.getfixturevalue("redis_server")
        with redis_server.client(db=9) as client:
            client.flushdb()
        addresses[REDIS] = redis_server.url(9)
    return addresses


def test_the_main_pages_are_found() -> None:
    assert {Path("README.md"), Path("docs/guide.md"), Path("docs/operations.md")} <= set(PAGES)
    assert blocks(Path("README.md"), "python")


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page, "python") and page not in OF_CREWAI],
    ids=lambda page: str(page),
)
def test_python_blocks_run_in_order(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.chdir(tmp_path)
    # The guide has its reader do this in a shell.
    monkeypatch.setenv("SWARMSTATE_KEYS", KeyRing.line("2026-11", new_key()))
    run_blocks(page, real_addresses(page, request), monkeypatch)


def test_pages_run_again_in_the_folder_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWARMSTATE_KEYS", KeyRing.line("2026-11", new_key()))
    pages = [Path("README.md"), Path("docs/guide.md"), Path("docs/operations.md")]
    addresses = {page: real_addresses(page, request) for page in pages}
    for page in [*pages, *pages]:
        run_blocks(page, addresses[page], monkeypatch)


def run_blocks(page: Path, addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the Python blocks of a page in this folder, as one module."""
    module = ModuleType("documentation")
    # Classes defined by a page are looked up by their module's name.
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for line, source in blocks(page, "python"):
        for shown, real in addresses.items():
            source = source.replace(shown, real)
        # Leading empty lines give tracebacks the page's own line numbers.
        code = compile("\n" * line + source, ROOT / page, "exec", dont_inherit=True)
        exec(code, module.__dict__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page))
def test_make_targets_exist(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"(?:^|`|&& )make ([a-z-]+)", text, re.MULTILINE)
    assert set(named) <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text):
        assert (ROOT / page).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page))
def test_links_to_headings_lead_to_one(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target, heading in re.findall(r"\]\(\s*(?!https?:)([^)#]*)#([^)]+)\)", text):
        linked = (ROOT / page).parent / target if target else ROOT / page
        titles = re.findall(r"^#+ (.*)$", BLOCK.sub("", linked.read_text("utf-8")), re.MULTILINE)
        names = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert heading in names, f"{target}#{heading}"


def test_every_error_is_in_the_list_of_errors() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`\w+`.*?) \|", text.partition("## What errors mean")[2], re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    # The sources list the exports of all add-ons; the one for CrewAI is not installed here.
    exported = [path.read_text("utf-8") for path in ROOT.glob("packages/*/*/__init__.py")]
    of_add_ons = set(re.findall(r'"(\w+Error)"', " ".join(exported)))
    assert len(of_add_ons) > 1
    # These are only base classes and are not raised themselves.
    assert ({*errors.__all__} | of_add_ons) - {"SwarmStateError", "CodecError"} <= named
