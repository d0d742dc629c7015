"""The `swarmstate` command; its dependencies come with `swarmstate-core[cli]`."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command."""
    try:
        from swarmstate.cli._commands import app
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        print(
            f"swarmstate: the command requires {error.name}, which is not installed; run: "
            "pip install 'swarmstate-core[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    app(prog_name="swarmstate")
