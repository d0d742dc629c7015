"""Run the `swarmstate` command as `python -m swarmstate`."""

from __future__ import annotations

from swarmstate.cli import main

if __name__ == "__main__":
    main()
