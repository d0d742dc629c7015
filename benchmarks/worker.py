"""Run one measurement of one contender, in its own process.

    python -m benchmarks.worker SUITE CONTENDER FOLDER PARAMETERS

prints the results as JSON. It also runs in the environment of the PyPI release.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path


def main(suite: str, contender: str, folder: str, parameters: str) -> None:
    """Run the suite's `measure` and print what it returns."""
    measure = import_module(f"benchmarks.suites.{suite}").measure
    print(json.dumps(measure(contender, Path(folder), **json.loads(parameters))))


if __name__ == "__main__":
    main(*sys.argv[1:])
