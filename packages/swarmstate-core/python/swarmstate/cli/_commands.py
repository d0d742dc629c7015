"""The subcommands: a thin shell around `swarmstate.moving`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from swarmstate.base import BaseStore
from swarmstate.disk import DiskStore, path_of
from swarmstate.errors import StoreFormatError, StoreUnavailableError, SwarmStateError
from swarmstate.memory import Store
from swarmstate.moving import Importer, Progress, Report, are_one, copy_store, measure
from swarmstate.urls import open as open_url

__all__ = ["app"]

IMPORTERS = "swarmstate.importers"

# The first bytes of SQLite files.
_MAGIC = b"SQLite format 3\0"
_HEADER_LENGTH = 100

# In the order in which `--version` lists the installed ones.
DISTRIBUTIONS = (
    "swarmstate-core",
    "langgraph-checkpoint-swarmstate",
    "crewai-swarmstate",
    "swarmstate-postgres",
    "swarmstate-redis",
)

# No tracebacks with local variables, because URLs may hold passwords.
app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)

# Without emoji: `:key:` in a name must not be turned into one.
_out = Console(highlight=False, soft_wrap=True, emoji=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

StoreURL = Annotated[str, typer.Argument(help="A store URL or a file path.", show_default=False)]
Prefix = Annotated[str, typer.Option(help="Only namespaces with this prefix.")]


def _print_versions(wanted: bool) -> None:
    if not wanted:
        return
    for name in DISTRIBUTIONS:
        with contextlib.suppress(PackageNotFoundError):
            _out.print(f"{name} {version(name)}")
    raise typer.Exit


@app.callback()
def _swarmstate(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_versions,
            is_eager=True,
            help="Show the versions of the installed swarmstate packages.",
        ),
    ] = False,
) -> None:
    """Inspect stores of agent state, and move their contents."""


@app.command()
def info(store: StoreURL, prefix: Prefix = "") -> None:
    """Count the namespaces, records and bytes of a store."""
    with _errors(), _open(store, must_exist=True) as opened:
        size = measure(opened, prefix)
        _out.print(f"namespaces  {size.namespaces:,}")
        _out.print(f"records     {size.records:,}")
        _out.print(f"bytes       {size.size:,}")


@app.command()
def copy(
    source: StoreURL,
    target: StoreURL,
    prefix: Prefix = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace namespaces that hold different records.")
    ] = False,
) -> None:
    """Copy one store into another, byte for byte, and compare them afterwards.

    Run it again to resume after an interruption. Other namespaces in the target are kept.
    """
    with _errors(), _open(source, must_exist=True) as opened:
        # Before the target is created: fail now if the source cannot be used.
        opened.namespaces(prefix, limit=1)
        with _open(target) as other, _progress() as progress:
            if are_one(opened, other):
                raise ValueError(
                    "expected two stores, but source and target are the same; nothing was copied"
                )
            report = copy_store(
                opened, other, prefix=prefix, overwrite=overwrite, progress=progress
            )
    _tell(report)


@app.command("import")
def import_(
    kind: Annotated[
        str, typer.Argument(help="What to read, such as langgraph-sqlite or langgraph-postgres.")
    ],
    source: Annotated[str, typer.Argument(help="Its URL or path.", show_default=False)],
    target: StoreURL,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Import only this, such as one thread; can be repeated."),
    ] = None,
) -> None:
    """Import data stored by another program, and compare it afterwards.

    Run it again to resume after an interruption. The source is only read.
    """
    importer = _importer(kind)
    with _errors():
        # Before the target is created: fail if the source cannot be used. Nothing has this name.
        importer(source, Store(), only=["swarmstate: nothing of this name"])
        with _open(target) as store, _progress() as progress:
            report = importer(source, store, only=only or (), progress=progress)
    _tell(report)


def _importer(kind: str) -> Importer:
    for entry_point in entry_points(group=IMPORTERS, name=kind):
        importer: Importer = entry_point.load()
        return importer
    known = ", ".join(sorted({each.name for each in entry_points(group=IMPORTERS)}))
    hint = (
        f"expected one of: {known}"
        if known
        else "no importer is installed; run: pip install langgraph-checkpoint-swarmstate"
    )
    raise typer.BadParameter(f"cannot import {kind!r}; {hint}", param_hint="KIND")


def _open(store: str, *, must_exist: bool = False) -> BaseStore:
    """Open a store; with `must_exist`, its file is not created or initialized."""
    if "://" not in store:
        path = Path(store)
    elif store.startswith("disk://"):
        path = path_of(store)
    else:
        return open_url(store)
    if must_exist and not path.exists():
        raise StoreUnavailableError(f"expected a store, but the file does not exist: {path}")
    if must_exist and path.is_file():
        _check_holds_something(path)
    return open_url(store) if "://" in store else DiskStore(path)


def _check_holds_something(path: Path) -> None:
    """Raise if opening the file would initialize it: if it or its SQLite database is empty."""
    if not path.stat().st_size:
        raise StoreFormatError(f"expected a store, but the file is empty: {path}")
    log = path.with_name(f"{path.name}-wal")
    if log.is_file() and log.stat().st_size:
        return  # The log may hold more than the file.
    with path.open("rb") as file:
        header = file.read(_HEADER_LENGTH)
    # Two numbers of 4 bytes: the schema cookie and the application id.
    if header.startswith(_MAGIC) and header[40:44] == header[68:72] == bytes(4):
        raise StoreFormatError(
            f"expected a store, but the file is an SQLite database with no tables: {path}"
        )


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Report errors in one line, without a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        _err.print("interrupted; run the same command again to resume", style="yellow")
        raise typer.Exit(130) from None
    except (SwarmStateError, ValueError, OSError) as error:
        _err.print(f"error: {error}", style="red", markup=False)
        raise typer.Exit(1) from None


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Progress], None]]:
    """Show a bar on a terminal, and nothing elsewhere."""
    with Bar(
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TimeElapsedColumn(),
        console=_err,
        disable=not _err.is_terminal,
    ) as bar:
        tasks = {}

        def show(progress: Progress) -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bar.add_task(progress.stage, unit=progress.unit)
            bar.update(tasks[progress.stage], completed=progress.done, total=progress.total)

        yield show


def _tell(report: Report) -> None:
    _out.print(str(report))
    for failure in report.failures:
        _err.print(f"failed: {failure}", style="red", markup=False)
    if report.failures:
        raise typer.Exit(1)
    _out.print("compared: no differences")
