"""CrewAI checkpoints on a swarmstate store."""

from __future__ import annotations

import tempfile
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from crewai.state.checkpoint_config import CheckpointConfig
from crewai.state.provider.json_provider import JsonProvider
from swarmstate.base import Batch, Query
from swarmstate.codec import Codec
from swarmstate.errors import CheckpointError

# CrewAI restores the persistence of a flow only if its class has been imported.
from . import flow as _registered  # noqa: F401
from .fields import StoreUri
from .handles import shared_store
from .sequences import Records, aappend, append, newest

if TYPE_CHECKING:
    import os

    from swarmstate import BaseStore
    from swarmstate.base import Result

__all__ = ["CheckpointInfo", "SwarmStateCheckpointProvider"]


class CheckpointInfo(NamedTuple):
    """A checkpoint's metadata, without its state.

    Attributes:
        id: Its id, as `restore_config` takes it.
        parent_id: The id of the checkpoint before it; None for the first.
        branch: The branch it is on.
        saved_at: When it was saved, in UTC.
    """

    id: str
    parent_id: str | None
    branch: str
    saved_at: datetime


class SwarmStateCheckpointProvider(JsonProvider):
    """Keeps CrewAI's runtime checkpoints in a swarmstate store.

    `CheckpointConfig(location="orders", provider=SwarmStateCheckpointProvider(uri=...))` writes to
    the namespace `crewai-checkpoints:orders`. A checkpoint is the record `checkpoint/{id}`; an
    index beside it keeps the order of each branch.

    It is a `JsonProvider` because CrewAI accepts no other class here. For the
    same reason CrewAI restores from files only: `restore_config` writes one.

    Args:
        uri: The store: what `swarmstate.open` takes, or the path of a file.
    """

    uri: StoreUri

    def checkpoint(
        self, data: str, location: str, *, parent_id: str | None = None, branch: str = "main"
    ) -> str:
        """Store a checkpoint; return its location, `{location}#{id}`.

        Args:
            data: The serialized state.
            location: The name of the collection.
            parent_id: The checkpoint before this one.
            branch: The branch it continues.
        """
        identity, records = _records(data, parent_id, branch)
        append(self._store, _namespace(location), _branch(branch), records)
        return f"{location}#{identity}"

    async def acheckpoint(
        self, data: str, location: str, *, parent_id: str | None = None, branch: str = "main"
    ) -> str:
        """Store a checkpoint as `checkpoint` does."""
        identity, records = _records(data, parent_id, branch)
        await aappend(self._store, _namespace(location), _branch(branch), records)
        return f"{location}#{identity}"

    def prune(self, location: str, max_keep: int, *, branch: str = "main") -> int:
        """Delete all but the newest `max_keep` checkpoints of a branch; return the count.

        Raises:
            ValueError: `max_keep` is negative.
        """
        if max_keep < 0:
            raise ValueError(f"expected max_keep to be 0 or more, found {max_keep}")
        namespace = _namespace(location)
        [result] = self._store.read([Query(namespace, ranges=[newest(_branch(branch), None)])])
        old = result.ranges[0][max_keep:]
        keys = [key for key, _ in old]
        checkpoints = [f"checkpoint/{_codec.loads(identity)}" for _, identity in old]
        if old:
            self._store.write([Batch(namespace, delete=[*keys, *checkpoints])])
        return len(old)

    def extract_id(self, location: str) -> str:
        """Return the id part of a location that `checkpoint` returned."""
        return location.rpartition("#")[2]

    def from_checkpoint(self, location: str) -> str:
        """Return the serialized state of a checkpoint.

        Args:
            location: The location that `checkpoint` returned.

        Raises:
            CheckpointError: There is no such checkpoint.
        """
        query = _query(location)
        return str(_record(self._store.read([query]), location)["data"])

    async def afrom_checkpoint(self, location: str) -> str:
        """Return the state of a checkpoint as `from_checkpoint` does."""
        query = _query(location)
        return str(_record(await self._store.aread([query]), location)["data"])

    def checkpoints(self, location: str, *, branch: str = "main") -> list[CheckpointInfo]:
        """Return the checkpoints of a branch, newest first."""
        namespace = _namespace(location)
        [result] = self._store.read([Query(namespace, ranges=[newest(_branch(branch), None)])])
        ids: list[str] = [_codec.loads(identity) for _, identity in result.ranges[0]]
        [found] = self._store.read([Query(namespace, keys=[f"checkpoint/{each}" for each in ids])])
        records = [
            (identity, _codec.loads(value))
            for identity, value in zip(ids, found.values, strict=True)
            if value is not None  # Another process may prune it between the two reads.
        ]
        return [
            CheckpointInfo(
                identity,
                record["parent_id"],
                record["branch"],
                datetime.fromisoformat(record["saved_at"]),
            )
            for identity, record in records
        ]

    def restore_config(
        self,
        location: str,
        checkpoint_id: str | None = None,
        *,
        branch: str = "main",
        directory: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> CheckpointConfig:
        """Return a config that makes a kickoff restore a checkpoint.

        CrewAI restores checkpoints from files only, so this writes the checkpoint to one. The
        checkpoints after it go to this store again.

        Args:
            location: The location named in the config that saved the checkpoint.
            checkpoint_id: The checkpoint; the newest of `branch` if None.
            branch: The branch to search for the newest.
            directory: Where to write the file; if None, a temporary directory, which the caller
                must delete.
            options: Passed to `CheckpointConfig`, such as `on_events`.

        Raises:
            CheckpointError: There is no such checkpoint.
        """
        if checkpoint_id is None:
            found = self.checkpoints(location, branch=branch)
            if not found:
                raise CheckpointError(
                    f"expected a checkpoint on branch {branch!r} of {location!r}, found none"
                )
            checkpoint_id = found[0].id
        source = f"{location}#{checkpoint_id}"
        record = _record(self._store.read([_query(source)]), source)
        target = Path(directory or tempfile.mkdtemp(prefix="swarmstate-"))
        target.mkdir(parents=True, exist_ok=True)
        # CrewAI parses the id and the parent from this name.
        path = target / f"{checkpoint_id}_p-{record['parent_id'] or 'none'}.json"
        path.write_text(record["data"], encoding="utf-8")
        return CheckpointConfig(location=location, provider=self, restore_from=path, **options)

    @property
    def _store(self) -> BaseStore:
        return shared_store(self.uri)


_codec = Codec()


def _namespace(location: str) -> str:
    return f"crewai-checkpoints:{location}"


def _branch(branch: str) -> str:
    # Escaped so that no branch's prefix is a prefix of another branch's keys.
    return f"branch/{quote(branch, safe='')}/"


def _records(data: str, parent_id: str | None, branch: str) -> tuple[str, Records]:
    now = datetime.now(timezone.utc)
    identity = f"{now:%Y%m%dT%H%M%S}_{uuid.uuid4().hex[:12]}"
    record = _codec.dumps(
        {"data": data, "parent_id": parent_id, "branch": branch, "saved_at": now.isoformat()}
    )
    return identity, lambda key: {
        key: _codec.dumps(identity),
        f"checkpoint/{identity}": record,
    }


def _query(location: str) -> Query:
    collection, _, identity = location.rpartition("#")
    return Query(_namespace(collection), keys=[f"checkpoint/{identity}"])


def _record(results: list[Result], location: str) -> dict[str, Any]:
    [result] = results
    [value] = result.values
    if value is None:
        raise CheckpointError(
            f"expected a checkpoint at {location!r}, found none: it was pruned, or this is "
            "another store"
        )
    record: dict[str, Any] = _codec.loads(value)
    return record
