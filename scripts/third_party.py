"""Write the third-party licenses and the bill of materials of the native module.

    third_party.py [--check]

A wheel of swarmstate-core contains the code of many crates, SQLite and zstd.
Their licenses require that the wheel also contains the license texts, and
scanners for known vulnerabilities need versions. This script generates both
files from what cargo knows. They are committed, so that the same sources make
the same wheel. It also sets the license expression in the manifest, which covers
everything in the wheel. With `--check`, it only compares.
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
# The platforms that wheels may be built for. Crates that only other platforms need are left out.
TARGETS = (
    "aarch64-apple-darwin",
    "aarch64-unknown-linux-gnu",
    "x86_64-apple-darwin",
    "x86_64-pc-windows-msvc",
    "x86_64-unknown-linux-gnu",
)
# A phrase that identifies the text of each license, the least demanding licenses first. A person
# must decide about a license that is not listed here, such as the GPL.
KNOWN = {
    "MIT": "the above copyright notice and this permission notice",
    "Zlib": "must not be misrepresented as being the original software",
    "BSD-3-Clause": "redistributions in binary form must reproduce the above",
    "Apache-2.0": "apache license version 2 0",
    "MPL-2.0+": "mozilla public license version 2 0",
    "Unicode-3.0": "unicode license v3",
    "Unicode-DFS-2016": "unicode inc license agreement data files and software",
}
# Crates published without the license text, and a crate of the same authors and license with it.
TEXT_OF = {"pulp-wasm-simd-flag": "pulp"}
RUST = "Rust standard library"


class Component(NamedTuple):
    """A third-party component of the module."""

    name: str
    version: str
    declared: str  # an SPDX expression
    purl: str
    terms: dict[str, list[str]]  # the licenses that we follow, and their texts


def words(text: str) -> str:
    """Return the words of a text, regardless of line breaks and punctuation."""
    return " ".join(re.findall(r"\w+", text.lower()))


def texts(folder: Path) -> list[str]:
    """Return the license texts in a crate's folder."""
    names = ("LICENSE*", "LICENCE*", "src/**/LICENSE*")
    paths = sorted({path for name in names for path in folder.glob(name) if path.is_file()})
    return [path.read_text(encoding="utf-8").strip() for path in paths]


def terms(declared: str, candidates: list[str]) -> dict[str, list[str]]:
    """Return the licenses to follow, chosen from an SPDX expression, with their texts.

    Raises:
        ValueError: No alternative is both known and has a text.
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
    # A crate that embeds Unicode's tables need not declare their license.
    for text in candidates:
        if KNOWN["Unicode-DFS-2016"] in words(text):
            found["Unicode-DFS-2016"] = [text]
    return found


def cargo(*arguments: str) -> str:
    """Return the output of a cargo command on the locked workspace."""
    command = ["cargo", *arguments, "--locked"]
    return subprocess.run(command, cwd=CORE, check=True, stdout=subprocess.PIPE).stdout.decode()


def linked() -> set[tuple[str, str]]:
    """Return the names and versions of all crates linked into the module."""
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
    """Return the C libraries that are compiled into a crate."""
    if crate == "zstd-sys":
        # This is the BSD license. The alternative that zstd offers, the GPL, is in a file of
        # another name.
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
    """Return all third-party components, sorted by name."""
    crates = linked()
    packages = [
        package
        for package in json.loads(cargo("metadata", "--format-version", "1"))["packages"]
        # A package without a source is our own.
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
    """Return the content of the license file."""
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
    # Rust's standard library has the license text of the Rust project's crates, such as libc.
    [libc] = [component for component in found if component.name == "libc"]
    for text in libc.terms["MIT"]:
        using[text].append(RUST)
    for text, titles in using.items():
        # Remove form feeds and the like, which separate pages for printers.
        plain = [line.rstrip() for line in re.sub(r"[\f\v]", "", text).splitlines()]
        lines += ["", rule, ", ".join(titles), rule, "", *plain]
    return "\n".join(lines) + "\n"


def bill(found: list[Component]) -> str:
    """Return the bill of materials in CycloneDX format."""
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
    """Return the manifest with the licenses of everything in a wheel, our own first."""
    of_others = {licence.rstrip("+") for component in found for licence in component.terms}
    expression = " AND ".join(["MIT", *sorted(of_others - {"MIT"})])
    content = MANIFEST.read_text(encoding="utf-8")
    return re.sub(r'^license = ".*"$', f'license = "{expression}"', content, flags=re.MULTILINE)


def main() -> int:
    """Write the files, or report which would change; return the exit status."""
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
