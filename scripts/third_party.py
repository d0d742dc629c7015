"""Write down what others wrote of the native module: licences, and a bill of materials.

    third_party.py [--check]

A wheel of swarmstate-core holds the code of many crates, SQLite's and zstd's.
Their licences require that it holds these, too, and whoever looks for known
vulnerabilities wants versions. Both files are made here, from what cargo
knows, and committed: so the same sources make the same wheel. So is the licence
expression in the manifest, which is of all that a wheel holds. With `--check`
they are only compared.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "packages/swarmstate-core"
LICENCES = CORE / "THIRD_PARTY_LICENSES.txt"
BILL = CORE / "sbom.cdx.json"
MANIFEST = CORE / "pyproject.toml"
# What wheels may be built for. A crate that only other systems need is not in them.
TARGETS = (
    "aarch64-apple-darwin",
    "aarch64-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "x86_64-pc-windows-msvc",
    "x86_64-unknown-linux-gnu",
)
# By which words a text of each licence is known, those first that ask least of users. A licence
# that is not here, such as the GPL, is for a person to decide about.
KNOWN = {
    "MIT": "the above copyright notice and this permission notice",
    "Zlib": "must not be misrepresented as being the original software",
    "BSD-3-Clause": "redistributions in binary form must reproduce the above",
    "Apache-2.0": "apache license version 2 0",
    "MPL-2.0+": "mozilla public license version 2 0",
    "Unicode-3.0": "unicode license v3",
    "Unicode-DFS-2016": "unicode inc license agreement data files and software",
}
# Crates that came without the text, and one of the same authors and licence that has it.
TEXT_OF = {"pulp-wasm-simd-flag": "pulp"}
RUST = "Rust standard library"


class Component(NamedTuple):
    """Something in the module that others wrote."""

    name: str
    version: str
    declared: str  # in SPDX
    purl: str
    terms: dict[str, list[str]]  # the licences that are followed, and their texts


def words(text: str) -> str:
    """Return a text as words, whatever its lines and punctuation."""
    return " ".join(re.findall(r"\w+", text.lower()))


def texts(folder: Path) -> list[str]:
    """Return the texts of licences in a crate's folder."""
    names = ("LICENSE*", "LICENCE*", "src/**/LICENSE*")
    paths = sorted({path for name in names for path in folder.glob(name) if path.is_file()})
    return [path.read_text(encoding="utf-8").strip() for path in paths]


def terms(declared: str, candidates: list[str]) -> dict[str, list[str]]:
    """Return the licences to follow, of those that an SPDX expression offers, with their texts.

    Raises:
        ValueError: None of the alternatives is known and has a text.
    """
    found: dict[str, list[str]] = {}
    for part in declared.split(" AND "):
        for licence in KNOWN:
            of_it = [text for text in candidates if KNOWN[licence] in words(text)]
            if licence in part.strip("()").split(" OR ") and of_it:
                found[licence] = of_it
                break
        else:
            raise ValueError(f"expected the text of one of {', '.join(KNOWN)}, found {declared}")
    # A crate that embeds Unicode's tables need not declare their licence.
    for text in candidates:
        if KNOWN["Unicode-DFS-2016"] in words(text):
            found["Unicode-DFS-2016"] = [text]
    return found


def cargo(*arguments: str) -> str:
    """Return what a cargo command prints about the workspace as it is locked."""
    command = ["cargo", *arguments, "--locked"]
    return subprocess.run(command, cwd=CORE, check=True, stdout=subprocess.PIPE).stdout.decode()


def linked() -> set[tuple[str, str]]:
    """Return the names and versions of all crates that are linked into the module."""
    crates = set()
    for target in TARGETS:
        tree = cargo(
            "tree",
            *("--package", "swarmstate-python", "--target", target, "--prefix", "none"),
            *("--edges", "normal,no-proc-macro", "--format", "{p}"),
        )
        for line in filter(None, tree.splitlines()):
            name, version = line.split()[:2]
            crates.add((name, version.removeprefix("v")))
    return crates


def bundled(crate: str, version: str, folder: Path) -> list[Component]:
    """Return what is written in C, and is compiled into a crate."""
    if crate == "zstd-sys":
        # The other licence that zstd offers, the GPL, has a file of another name.
        text = (folder / "zstd/LICENSE").read_text(encoding="utf-8").strip()
        release = version.partition("zstd.")[2]
        purl = f"pkg:github/facebook/zstd@v{release}"
        return [Component("Zstandard", release, "BSD-3-Clause", purl, {"BSD-3-Clause": [text]})]
    if crate == "libsqlite3-sys":
        header = (folder / "sqlite3/sqlite3.h").read_text(encoding="utf-8")
        release = re.findall(r'^#define SQLITE_VERSION +"([\d.]+)"', header, re.MULTILINE)[0]
        purl = f"pkg:generic/sqlite@{release}"
        return [Component("SQLite", release, "blessing", purl, {})]
    return []


def components() -> list[Component]:
    """Return all that others wrote, by name."""
    crates = linked()
    packages = [
        package
        for package in json.loads(cargo("metadata", "--format-version", "1"))["packages"]
        # Without a source it is ours.
        if package["source"] and (package["name"], package["version"]) in crates
    ]
    folders = {package["name"]: Path(package["manifest_path"]).parent for package in packages}
    found = []
    for package in packages:
        name, version = package["name"], package["version"]
        folder = Path(package["manifest_path"]).parent
        declared = package["license"].replace("/", " OR ")
        purl = f"pkg:cargo/{name}@{version}".replace("+", "%2B")
        try:
            like = folders[TEXT_OF[name]] if name in TEXT_OF else folder
            under = terms(declared, texts(like))
        except ValueError as error:
            raise ValueError(f"{name} {version}: {error}") from None
        found.append(Component(name, version, declared, purl, under))
        found += bundled(name, version, folder)
    return sorted(found, key=lambda component: (component.name.lower(), component.version))


def licences(found: list[Component]) -> str:
    """Return the file of licences."""
    rule = "-" * 80
    using: dict[str, list[str]] = {}
    lines = [
        "The native module of swarmstate-core, swarmstate._core, is built from its own sources,",
        "which are under the licence in the file LICENSE, and from those of others, which are",
        "named here with the licences that they are used under. The texts of these follow. The",
        "sources of a crate are in Rust's package registry, by name and version; none was changed.",
        "",
    ]
    for component in found:
        title = f"{component.name} {component.version}"
        lines.append(f"{title}: {' AND '.join(component.terms) or 'in the public domain'}")
        for text in chain.from_iterable(component.terms.values()):
            using.setdefault(text, []).append(title)
    lines.append(f"{RUST}: MIT")
    # It has the text of the project's own crates.
    [libc] = [component for component in found if component.name == "libc"]
    for text in libc.terms["MIT"]:
        using[text].append(RUST)
    for text, titles in using.items():
        # Form feeds and the like separate pages for printers.
        plain = [line.rstrip() for line in re.sub(r"[\f\v]", "", text).splitlines()]
        lines += ["", rule, ", ".join(titles), rule, "", *plain]
    return "\n".join(lines) + "\n"


def bill(found: list[Component]) -> str:
    """Return the bill of materials, in CycloneDX's format."""
    manifest = (CORE / "Cargo.toml").read_text(encoding="utf-8")
    version = re.findall(r'^version = "([^"]+)"', manifest, re.MULTILINE)[0]
    purl = f"pkg:pypi/swarmstate-core@{version}"
    product = {"type": "library", "bom-ref": purl, "name": "swarmstate-core", "version": version}
    listed = [
        {
            "type": "library",
            "bom-ref": component.purl,
            "name": component.name,
            "version": component.version,
            "licenses": [{"expression": component.declared}],
            "purl": component.purl,
        }
        for component in found
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {**product, "licenses": [{"expression": "MIT"}], "purl": purl},
        },
        "components": listed,
        "dependencies": [{"ref": purl, "dependsOn": [each.purl for each in found]}],
    }
    return json.dumps(document, indent=1) + "\n"


def manifest(found: list[Component]) -> str:
    """Return the manifest with the licences of all that is in a wheel, our own first."""
    of_others = {licence.rstrip("+") for component in found for licence in component.terms}
    expression = " AND ".join(["MIT", *sorted(of_others - {"MIT"})])
    content = MANIFEST.read_text(encoding="utf-8")
    return re.sub(r'^license = ".*"$', f'license = "{expression}"', content, flags=re.MULTILINE)


def main() -> int:
    """Write the files, or say which is not what it would be; return the exit status."""
    found = components()
    contents = ((LICENCES, licences(found)), (BILL, bill(found)), (MANIFEST, manifest(found)))
    stale = []
    for path, content in contents:
        if "--check" not in sys.argv[1:]:
            path.write_text(content, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != content:
            stale.append(f"{path.relative_to(ROOT)}: crates have changed: run make third-party")
    print(*stale, sep="\n", end="\n" if stale else "", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
