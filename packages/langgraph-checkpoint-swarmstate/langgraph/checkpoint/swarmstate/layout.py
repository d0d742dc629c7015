"""The layout of a thread in a store: namespaces, keys and addresses.

A thread is one namespace, `langgraph:{thread_id}`, that holds

    checkpoint/{ns}/{checkpoint_id}                  a checkpoint
    write/{ns}/{checkpoint_id}/{task_id}/{idx}       a pending write
    blob/{home}{hash}                                bytes that checkpoints and writes share
    run/{run_id}                                     marks a run that wrote here
    gc/{token}                                       marks a garbage collection in progress

Parts before the last one are escaped, so they can hold anything; the last part
of a checkpoint's key is raw, so keys sort by checkpoint id.

The namespace `langgraph-index` is derived from the threads:

    time/{bucket}\\x01{thread_id}                     threads by newest checkpoint
    run/{run_id}/{thread_id}                         threads by run
    lost                                             marks an index that lost entries

A bucket is a prefix of a checkpoint id. LangGraph's ids begin with a timestamp,
so a bucket spans about half a minute, and a busy thread rewrites its entry once
per bucket, not at every superstep. The index never proves that a thread exists:
an entry may be stale, or missing after a race.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from swarmstate import Range
from swarmstate.base import prefix_end
from swarmstate.errors import CheckpointError, InvalidConfigError, InvalidNameError
from swarmstate.sharing import blob_home

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

INDEX = "langgraph-index"
THREADS = "langgraph:"

CHECKPOINTS = "checkpoint/"
WRITES = "write/"
BLOBS = "blob/"
RUNS = "run/"
COLLECTIONS = "gc/"
TIMES = "time/"
LOST = "lost"

# Characters of a blob's name that say where it belongs, not what it holds.
HOME_LENGTH = 4

_BUCKET_LENGTH = 8
_BUCKET_END = "\x01"


class Address(NamedTuple):
    """A checkpoint's place: thread, checkpoint namespace and id (None: the latest)."""

    thread_id: str
    checkpoint_ns: str
    checkpoint_id: str | None

    def config(self) -> RunnableConfig:
        """Return the address as the config that LangGraph passes around."""
        return {
            "configurable": {
                "thread_id": self.thread_id,
                "checkpoint_ns": self.checkpoint_ns,
                "checkpoint_id": self.checkpoint_id,
            }
        }

    def values_key(self) -> str:
        """Return the key under which the values of this checkpoint's chain are remembered."""
        return f"{self.thread_id}\x00{self.checkpoint_ns}"


def configurable(config: RunnableConfig) -> dict[str, Any]:
    """Return `config["configurable"]` after checking that it names a thread.

    Raises:
        InvalidConfigError: There is no thread_id.
        TypeError: It is not a config.
    """
    try:
        found: dict[str, Any] = config.get("configurable") or {}
        thread_id = found.get("thread_id")
    except AttributeError:
        raise no_config(config) from None
    if thread_id is None:
        there = "None" if "thread_id" in found else f"only {sorted(map(str, found))}"
        raise InvalidConfigError(
            "expected config['configurable']['thread_id'] to name the thread, found "
            f"{there}; pass e.g. {{'configurable': {{'thread_id': '1'}}}}"
        )
    return found


def no_config(found: object) -> TypeError:
    """Return the error for something that is not a config, such as a bare thread id."""
    return TypeError(
        f"expected a config such as {{'configurable': {{'thread_id': '1'}}}}, found {found!r:.80}"
    )


def thread_id_of(thread_id: object) -> str:
    """Return a thread id as text; numbers are accepted.

    Raises:
        TypeError: It is not a thread id. Converted to text, it would name a thread that
            does not exist.
    """
    if thread_id is None:
        found = "None"
    elif isinstance(thread_id, Mapping):
        found = "a config; pass its thread_id"
    elif isinstance(thread_id, list | tuple | set | frozenset):
        found = f"a {type(thread_id).__name__}; pass one id at a time"
    else:
        return str(thread_id)
    raise TypeError(f"expected a thread id, found {found}")


def address_of(config: RunnableConfig) -> Address:
    """Return the address in `config`; the checkpoint namespace defaults to the root.

    Raises:
        InvalidConfigError: It names no thread.
        TypeError: It is not a config, or its checkpoint namespace is not a string.
    """
    found = configurable(config)
    checkpoint_id, checkpoint_ns = found.get("checkpoint_id"), found.get("checkpoint_ns")
    if not (checkpoint_ns is None or isinstance(checkpoint_ns, str)):
        raise TypeError(
            "expected config['configurable']['checkpoint_ns'] to be a string, found "
            f"{checkpoint_ns!r:.80}; the root's is ''"
        )
    return Address(
        str(found["thread_id"]), checkpoint_ns or "", str(checkpoint_id) if checkpoint_id else None
    )


def escape(part: str) -> str:
    """Return `part` without slashes, reversibly."""
    if "/" in part or "%" in part:
        return part.replace("%", "%25").replace("/", "%2F")
    return part


def unescape(part: str) -> str:
    """Undo `escape`."""
    if "%" in part:
        return part.replace("%2F", "/").replace("%25", "%")
    return part


def thread_namespace(thread_id: str) -> str:
    """Return the namespace that holds a thread.

    Raises:
        InvalidNameError: The thread has no name.
    """
    if not thread_id:
        raise InvalidNameError("expected a non-empty thread_id, found ''")
    return f"{THREADS}{thread_id}"


@lru_cache(maxsize=256)
def checkpoints_prefix(checkpoint_ns: str) -> str:
    """Return the key prefix of the checkpoints in a checkpoint namespace."""
    return f"{CHECKPOINTS}{escape(checkpoint_ns)}/"


def checkpoint_key(address: Address) -> str:
    """Return the key of a checkpoint whose id is known."""
    return f"{checkpoints_prefix(address.checkpoint_ns)}{address.checkpoint_id}"


def parse_checkpoint_key(thread_id: str, key: str) -> tuple[str, str]:
    """Return `(checkpoint_id, checkpoint_ns)` of a checkpoint's key.

    Raises:
        CheckpointError: The key is damaged.
    """
    parts = key.split("/", 2)
    if len(parts) < 3:
        raise _damaged(thread_id, key)
    return parts[2], unescape(parts[1])


def writes_prefix(checkpoint_ns: str, checkpoint_id: str) -> str:
    """Return the key prefix of a checkpoint's pending writes."""
    return f"{WRITES}{escape(checkpoint_ns)}/{escape(checkpoint_id)}/"


def writes_prefix_of(key: str) -> str:
    """Return the key prefix of all pending writes of the checkpoint that this write belongs to."""
    return key.rsplit("/", 2)[0] + "/"


def writes_of(address: Address) -> Range:
    """Return the range of a checkpoint's pending writes."""
    return Range.of_prefix(writes_prefix(address.checkpoint_ns, str(address.checkpoint_id)))


def writes_between(checkpoint_ns: str, checkpoint_ids: Iterable[str]) -> Range:
    """Return the least range of keys that holds the pending writes of all these checkpoints."""
    places = [writes_prefix(checkpoint_ns, each) for each in checkpoint_ids]
    return Range(min(places), prefix_end(max(places)))


@lru_cache(maxsize=256)
def last_of(checkpoint_ns: str, writes: int) -> tuple[Range, Range]:
    """Return the ranges of a checkpoint namespace's latest checkpoint and of its last writes.

    The writes come last first; `writes` is how many to read.
    """
    latest = Range.of_prefix(checkpoints_prefix(checkpoint_ns), reverse=True, limit=1)
    pending = f"{WRITES}{escape(checkpoint_ns)}/"
    return latest, Range.of_prefix(pending, reverse=True, limit=writes)


def blobs_at(checkpoint_id: str) -> Range:
    """Return the range of the blobs whose home is a checkpoint.

    Its pending writes and the checkpoints after it may refer to them.
    """
    return Range.of_prefix(BLOBS + blob_home(checkpoint_id))


def parse_write_key(key: str) -> tuple[str, int]:
    """Return `(task_id, idx)` of a pending write's key.

    Raises:
        ValueError: The key is damaged.
    """
    _, _, _, task_id, idx = key.split("/")
    return unescape(task_id), int(idx)


def address_of_write(thread_id: str, key: str) -> Address:
    """Return the checkpoint that the pending write under a key belongs to.

    Raises:
        CheckpointError: The key is damaged.
    """
    parts = key.split("/", 3)
    if len(parts) < 4:
        raise _damaged(thread_id, key)
    return Address(thread_id, unescape(parts[1]), unescape(parts[2]))


def _damaged(thread_id: str, key: str) -> CheckpointError:
    return CheckpointError(
        f"thread {thread_id!r} has a record with a damaged key {key!r}; delete that record, "
        "delete the thread, or restore a backup"
    )


def bucket_of(checkpoint_id: str) -> str:
    """Return the bucket of an id: a prefix, so that buckets sort as ids do."""
    return checkpoint_id[:_BUCKET_LENGTH].partition(_BUCKET_END)[0]


def time_key(checkpoint_id: str, thread_id: str) -> str:
    """Return the index key stating that the thread has a checkpoint of this time."""
    return f"{TIMES}{bucket_of(checkpoint_id)}{_BUCKET_END}{thread_id}"


def parse_time_key(key: str) -> tuple[str, str]:
    """Return `(bucket, thread_id)` of a time index key."""
    bucket, _, thread_id = key[len(TIMES) :].partition(_BUCKET_END)
    return bucket, thread_id


def run_key(run_id: str, thread_id: str) -> str:
    """Return the index key stating that the run wrote to the thread."""
    return f"{run_prefix(run_id)}{thread_id}"


def run_prefix(run_id: str) -> str:
    """Return the prefix of a run's index keys."""
    return f"{RUNS}{escape(run_id)}/"


def parse_run_key(key: str) -> tuple[str, str]:
    """Return `(run_id, thread_id)` of a run index key."""
    run_id, _, thread_id = key[len(RUNS) :].partition("/")
    return unescape(run_id), thread_id
