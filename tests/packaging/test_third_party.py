"""The licenses and versions listed for the crates in the wheel."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scripts.third_party import BILL, LICENCES, terms, texts

ROOT = Path(__file__).resolve().parents[2]
MIT = (
    "Copyright (c) Ada\n\n... subject to the following conditions:\n"
    "The above copyright notice and\nthis permission notice shall be included ..."
)
ZLIB = "(c) Ada ... altered versions must not be\nmisrepresented as being the original software."
APACHE = "Apache License\n   Version 2.0, January 2004"


def test_of_several_licences_one_is_followed() -> None:
    assert terms("Zlib OR Apache-2.0 OR MIT", [APACHE, MIT, ZLIB]) == {"MIT": [MIT]}
    assert terms("Zlib OR Apache-2.0 OR MIT", [ZLIB]) == {"Zlib": [ZLIB]}
    unicode = "UNICODE LICENSE V3\n\nCOPYRIGHT"
    both = terms("(MIT OR Apache-2.0) AND Unicode-3.0", [APACHE, MIT, unicode])
    assert both == {"MIT": [MIT], "Unicode-3.0": [unicode]}


@pytest.mark.parametrize(
    ("declared", "candidates"),
    [("GPL-3.0-only", [MIT]), ("MIT", []), ("MIT", [APACHE]), ("MIT AND GPL-3.0-only", [MIT])],
)
def test_a_licence_that_nobody_decided_about_or_without_a_text_is_refused(
    declared: str, candidates: list[str]
) -> None:
    with pytest.raises(ValueError, match=re.escape(f"found {declared}")):
        terms(declared, candidates)


def test_texts_of_licences_are_found_in_a_crate(tmp_path: Path) -> None:
    (tmp_path / "LICENSE-MIT").write_text(MIT)
    (tmp_path / "src/tables").mkdir(parents=True)
    (tmp_path / "src/tables/LICENSE-UNICODE").write_text("Unicode's\n")
    (tmp_path / "COPYING").write_text("Choose one.")
    assert texts(tmp_path) == [MIT, "Unicode's"]


def test_what_is_linked_is_told_with_its_version() -> None:
    lock = (ROOT / "packages/swarmstate-core/Cargo.lock").read_text("utf-8")
    locked = set(re.findall(r'^name = "([^"]+)"\nversion = "([^"]+)"', lock, re.MULTILINE))
    bill = json.loads(BILL.read_text("utf-8"))
    told = {(each["name"], each["version"]) for each in bill["components"]}
    in_c = {(name, version) for name, version in told if name in {"SQLite", "Zstandard"}}
    assert len(in_c) == 2
    assert told - in_c <= locked
    assert {"pyo3", "rusqlite", "zstd-sys", "imbl"} <= {name for name, _ in told}
    # Crates that only builds, tests or other systems need are not in the wheel.
    assert not {"cc", "syn", "proptest", "r-efi", "sqlite-wasm-rs"} & {name for name, _ in told}
    licences = LICENCES.read_text("utf-8")
    for name, version in told:
        assert re.search(rf"^{re.escape(f'{name} {version}')}: ", licences, re.MULTILINE)


def test_the_version_of_sqlite_is_the_one_that_runs(tmp_path: Path) -> None:
    from swarmstate import DiskStore

    path = tmp_path / "state.db"
    with DiskStore(path) as store:
        store.set("a", "b", 1)
    # SQLite writes its version into the header of each file.
    number = int.from_bytes(path.read_bytes()[96:100], "big")
    release = f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}"
    bill = json.loads(BILL.read_text("utf-8"))
    assert release in {each["version"] for each in bill["components"] if each["name"] == "SQLite"}
