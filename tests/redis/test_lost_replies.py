"""Writes whose replies were lost: resent, applied once, and reported if the outcome is unknown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from swarmstate.base import Batch, Expect, Query, Range
from swarmstate.errors import ConflictError, StoreUnavailableError
from swarmstate_redis import RedisStore, commands

from tests.redis.messages import messages_of
from tests.redis.test_contract import prefix_of
from tests.servers.redis import RedisServer


def lose_a_reply(store: RedisStore, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Lose the next reply and its connection; `meanwhile` runs before the retry."""
    link = store._open_link()
    sent = link.send

    def send_and_lose(commands):  # type: ignore[no-untyped-def]  # same signature as the link's
        link.send = sent  # type: ignore[method-assign]  # only on this object
        sent(commands)
        meanwhile()
        return [ConnectionError("the reply was lost")] * len(commands)

    link.send = send_and_lose  # type: ignore[method-assign]  # only on this object


def appended(number: int) -> Batch:
    """Return a batch that appends a record to a log, after the previous one."""
    last = f"log/{number - 1:02}" if number > 1 else None
    return Batch("n", put={f"log/{number:02}": b""}, expect=Expect("log/", last))


def test_a_batch_whose_reply_was_lost_is_no_conflict_with_itself(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with RedisStore(redis_server.url(), prefix=prefix_of(tmp_path)) as store:
        store.write([appended(1)])
        lose_a_reply(store)
        store.write([appended(2)])
        with pytest.raises(ConflictError):
            store.write([appended(2)])
        [found] = store.read([Query("n", ranges=[Range()])])
        assert found.ranges == [[("log/01", b""), ("log/02", b"")]]


def test_a_batch_whose_reply_was_lost_undoes_nothing_that_others_did_since(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    def work() -> None:
        store.write([appended(number) for number in range(2, 20)])
        store.write([Batch("n", delete=["log/01"], put={"log/02": b"theirs"})])

    with RedisStore(redis_server.url(), prefix=prefix_of(tmp_path)) as store:
        lose_a_reply(store, work)
        store.write([appended(1)])
        [found] = store.read([Query("n", keys=["log/01", "log/02"])])
        assert found.values == [None, b"theirs"]


def test_a_refusal_whose_reply_was_lost_is_still_one(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    with RedisStore(redis_server.url(), prefix=prefix_of(tmp_path)) as store:
        store.write([appended(number) for number in range(1, 20)])
        lose_a_reply(store)
        with pytest.raises(ConflictError):
            store.write([appended(2)])


def test_what_a_busy_namespace_has_forgotten_is_told_to_be_unknown(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    def work() -> None:
        store.write([appended(number) for number in range(2, 50)])

    with RedisStore(redis_server.url(), prefix=prefix_of(tmp_path)) as store:
        lose_a_reply(store, work)
        lost = messages_of(lambda: store.write([appended(1)]), StoreUnavailableError)
        assert "it is unknown whether" in lost


def test_what_was_repeated_for_longer_than_is_remembered_is_told_to_be_unknown(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = prefix_of(tmp_path)

    def expire() -> None:
        assert redis_server.execute("DEL", f"{{{prefix}:n}}:recent") == 1

    with RedisStore(redis_server.url(), prefix=prefix) as store:
        store.write([appended(1)])
        monkeypatch.setattr(commands, "_REMEMBERED_SECONDS", 0.0)
        lose_a_reply(store, expire)
        lost = messages_of(lambda: store.write([appended(2)]), StoreUnavailableError)
        assert "it is unknown whether" in lost
        # Without a retry, the outcome is certain: it is refused.
        with pytest.raises(ConflictError):
            store.write([appended(2)])
