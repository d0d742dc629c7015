"""Measure swarmstate against other savers and stores, and print tables of ratios.

Contenders take turns, each in a fresh process, for several rounds; figures are
medians. Every timed result is also checked. Raw results go to .benchmarks/.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import environment, peer, plots
from benchmarks.contenders import CONTENDERS
from benchmarks.report import Table, replace_between
from benchmarks.rounds import CACHE, ROOT, WORKSPACE_PYTHON, Rounds, run
from benchmarks.scenarios import SCENARIOS
from benchmarks.suites import growth


class Benchmark(NamedTuple):
    """A suite with its sizes.

    Attributes:
        suite: The module in `benchmarks.suites`.
        help: What it measures, in one line.
        parameters: Overrides of the suite's own parameters.
        contenders: The contenders; all of the suite's by default.
        rounds: The default number of runs of each contender.
    """

    suite: str
    help: str
    parameters: Mapping[str, Any] = {}
    contenders: Sequence[str] | None = None
    rounds: int = 3


# At 1,000 turns a saver that rewrites the history stores 7 GB.
_LINEAR = (
    "none",
    "zero-cost",
    "in-memory-delta",
    "ours",
    "sqlite-delta",
    "ours-file",
    "ours-file-delta",
    "ours-file-normal",
)

BENCHMARKS = {
    "small": Benchmark("small_state", "put and get of 20 messages", rounds=5),
    "concurrent": Benchmark("concurrent", "the same from 8 threads on one file"),
    "store": Benchmark("store", "set, get and snapshot of the in-memory store"),
    "serializer": Benchmark("serializer", "encoding and decoding 1,000 messages"),
    "messages": Benchmark("messages", "appending to a list of messages"),
    "vectors-10k": Benchmark("vectors", "search in 10,000 vectors", {"records": 10_000}),
    "vectors-50k": Benchmark("vectors", "in 50,000 vectors"),
    "vectors-million": Benchmark(
        "vectors",
        "approximately, in a million vectors of 128 dimensions",
        {"records": 1_000_000, "dimensions": 128, "approximate_above": 250_000},
        rounds=1,
    ),
    "memories": Benchmark("memories", "LangGraph's long-term memory, with and without embeddings"),
    "cached": Benchmark("cached", "calls of a cached function", rounds=5),
    "metering": Benchmark("metering", "what metrics sinks add to a read", rounds=5),
    "profiling": Benchmark("profiling", "what profiling a run costs"),
    "routing": Benchmark("routing", "routing by conditions"),
    "routing-edge": Benchmark("routing_edge", "what conditions add to a LangGraph edge"),
    "growth": Benchmark("growth", "an agent's thread of 200 turns"),
    "acceleration": Benchmark("acceleration", "the same with accelerate(), and each patch of it"),
    "growth-postgres": Benchmark(
        "growth",
        "of 200 turns, on PostgreSQL",
        contenders=("zero-cost", "postgres", "ours-postgres"),
    ),
    "growth-redis": Benchmark(
        "growth",
        "of 200 turns, on Redis",
        contenders=("zero-cost", "peer-redis", "ours-redis"),
    ),
    "users": Benchmark("users", "100 users at once in one event loop"),
    "growth-1000": Benchmark("growth", "of 1,000 turns", {"turns": 1_000}, _LINEAR, rounds=1),
    "files": Benchmark("growth", "100 files, one edited per turn", {"scenario": "files"}),
    "images": Benchmark("growth", "5 MB images in messages", {"scenario": "images", "turns": 10}),
    "notes": Benchmark("growth", "a list passed on whole", {"scenario": "notes"}),
    "steps": Benchmark("growth", "2,000 steps of small state", {"scenario": "steps", "turns": 100}),
    "drafts": Benchmark("growth", "texts that are extended and edited", {"scenario": "drafts"}),
    "opaque": Benchmark("growth", "a 200 KB dict that never changes", {"scenario": "opaque"}),
    "crewai-1k": Benchmark(
        "crewai_memory", "CrewAI memory: 1,000 records; see `make crewai`", {"records": 1_000}
    ),
    "crewai-10k": Benchmark("crewai_memory", "10,000 records", {"records": 10_000}),
    "crewai-50k": Benchmark("crewai_memory", "50,000 records", {"records": 50_000}),
    "crewai-3072": Benchmark(
        "crewai_memory", "10,000 records of 3,072 dimensions", {"dimensions": 3_072}
    ),
}
DEFAULT = ("small", "concurrent", "store", "serializer", "growth")
_DOCS = ROOT / "docs"
_README_NOTE = """\
"÷ ours" divides by swarmstate's figure for the same storage: above 1, swarmstate is better. All
savers run the same graph in turn, and their results are compared. `make bench` measures on your
machine; [docs/benchmarks.md](docs/benchmarks.md) says what is measured and how."""


def main() -> int:
    """Run the benchmarks that the command line names; return the exit status."""
    parser = _parser()
    options = parser.parse_args()
    if options.update_docs and (options.contender or options.without_peer):
        parser.error("--update-docs needs all contenders")
    if options.update_docs:
        # Fail before measuring for minutes, not after.
        plots.load_pyplot()
    names = list(BENCHMARKS) if options.benchmarks == ["all"] else options.benchmarks or DEFAULT
    CACHE.mkdir(exist_ok=True)
    described = environment.describe(CACHE)
    print("\n".join(described), flush=True)
    for name in names:
        benchmark = BENCHMARKS[name]
        suite = import_module(f"benchmarks.suites.{benchmark.suite}")
        parameters = {**suite.PARAMETERS, **benchmark.parameters}
        rounds = run(
            benchmark.suite,
            _pythons(name, suite, options),
            options.rounds or benchmark.rounds,
            parameters,
            progress=_progress,
        )
        _save(name, rounds, parameters, described)
        if hasattr(suite, "check"):
            suite.check(rounds)
        tables: list[Table] = suite.tables(rounds, parameters)
        print("", *tables, sep="\n\n", flush=True)
        if options.update_docs:
            _update_docs(name, rounds, parameters, tables, described)
    return 0


def _parser() -> argparse.ArgumentParser:
    listed = {**{name: item.help for name, item in BENCHMARKS.items()}, "all": "all of them"}
    longest = max(map(len, listed))
    lines = "\n".join(f"  {name:{longest}}  {text}" for name, text in listed.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog=f"benchmarks:\n{lines}\n\ndefault: {', '.join(DEFAULT)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "benchmarks", nargs="*", choices=[*BENCHMARKS, "all"], default=[], metavar="benchmark"
    )
    parser.add_argument("--rounds", type=int, help="how many times each contender runs")
    parser.add_argument(
        "--contender", action="append", help="measure only this contender; may be repeated"
    )
    parser.add_argument(
        "--without-peer",
        action="store_true",
        help="skip contenders that are downloaded into separate environments",
    )
    parser.add_argument(
        "--update-docs",
        action="store_true",
        help="write tables and plots into docs/benchmarks.md and README.md; needs matplotlib",
    )
    return parser


def _pythons(name: str, suite: Any, options: argparse.Namespace) -> dict[str, Path]:
    """Return the chosen contenders and the Python that each runs in."""
    benchmark = BENCHMARKS[name]
    contenders = list(benchmark.contenders or suite.CONTENDER_NAMES)
    scenario = {**suite.PARAMETERS, **benchmark.parameters}.get("scenario")
    if scenario is not None and not SCENARIOS[scenario].has_delta:
        contenders = [each for each in contenders if not CONTENDERS[each].delta]
    if options.contender:
        contenders = [each for each in contenders if each in options.contender]
    of_peer = {each for each in contenders if each.startswith("peer")}
    if options.without_peer:
        contenders = [each for each in contenders if each not in of_peer]
        of_peer = set()
    own_python = WORKSPACE_PYTHON
    if environment_name := getattr(suite, "ENVIRONMENT", None):
        own_python = ROOT / environment_name / WORKSPACE_PYTHON.relative_to(sys.prefix)
        if not own_python.exists():
            raise SystemExit(f"{name} needs the environment {environment_name}; run: make crewai")
    return {
        each: peer.ensure(CACHE, each) if each in of_peer else own_python for each in contenders
    }


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _save(name: str, rounds: Rounds, parameters: Any, described: list[str]) -> None:
    content = {"environment": described, "parameters": parameters, "rounds": rounds.results}
    (CACHE / f"{name}.json").write_text(json.dumps(content, indent=1))


def _update_docs(
    name: str, rounds: Rounds, parameters: Any, tables: list[Table], described: list[str]
) -> None:
    made_on = "Measured on: " + "; ".join(described) + "."
    parts = [*map(str, tables), made_on]
    if name == "growth":
        summary = "\n\n".join([str(growth.summary(rounds, parameters)), made_on, _README_NOTE])
        replace_between(ROOT / "README.md", "measured", summary)
    if BENCHMARKS[name].suite == "growth":
        drawn = plots.growth(name, rounds, parameters["turns"], _DOCS / "images")
        parts += [f"![{path.stem}]({path.relative_to(_DOCS).as_posix()})" for path in drawn]
    replace_between(_DOCS / "benchmarks.md", name, "\n\n".join(parts))


if __name__ == "__main__":
    sys.exit(main())
