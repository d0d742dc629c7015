"""Evictions by the server and changes by hand are reported, and never misread."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from langgraph.cache.swarmstate import SwarmStateCache
from swarmstate.cached import cached
from swarmstate.errors import StoreFormatError, StoreIncompleteError
from swarmstate_redis import RedisStore

from tests.redis.messages import messages_of
from tests.redis.test_contract import prefix_of
from tests.servers.redis import RedisServer


def test_a_record_that_was_exchanged_by_hand_is_told(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    prefix = prefix_of(tmp_path)
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        store.set_many("n", {"a": 1, "b": 2})
        # There are as many records as keys, so only reading the range reveals the difference.
        assert redis_server.execute("HDEL", f"{prefix}:n", "a") == 1
        assert redis_server.execute("HSET", f"{prefix}:n", "c", "3") == 1
        messages_of(lambda: store.items("n"), StoreIncompleteError)


@pytest.mark.parametrize("part", ["data", "index"])
def test_an_evicted_part_is_told_and_never_misread(
    redis_server: RedisServer, tmp_path: Path, part: str
) -> None:
    prefix = prefix_of(tmp_path)
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        store.set_many("n", {"a": 1, "b": 2})
        key = f"{prefix}:n" if part == "data" else f"{{{prefix}:n}}:keys"
        assert redis_server.execute("DEL", key) == 1
        for call in (
            lambda: store.get("n", "a"),
            lambda: store.keys("n"),
            lambda: asyncio.run(store.aitems("n")),
            lambda: store.set("n", "c", 3),
            lambda: store.copy("n", "m"),
            lambda: store.snapshot(),
        ):
            told = messages_of(call, StoreIncompleteError)
            assert "'n'" in told
            assert "evict" in told
        # It is still listed, so that it can be found and cleared.
        assert store.namespaces() == ["n"]
        store.clear("n")
        store.set("n", "d", 4)
        assert store.items("n") == [("d", 4)]


def test_caches_go_on_when_a_part_of_an_entry_was_evicted(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    prefix = prefix_of(tmp_path)
    calls = []
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        nodes = SwarmStateCache[int](store)
        key = (("node",), "key")

        @cached(store=store, name="f")
        def function(number: int) -> int:
            calls.append(number)
            return number * 2

        for count in (1, 2):
            assert nodes.get([key]) == {}
            nodes.set({key: (count, None)})
            assert nodes.get([key]) == {key: count}
            assert (function(4), function(4)) == (8, 8)
            assert len(calls) == count
            for namespace in store.namespaces():
                assert redis_server.execute("DEL", f"{prefix}:{namespace}") == 1


def test_a_field_added_by_hand_is_told(redis_server: RedisServer, tmp_path: Path) -> None:
    prefix = prefix_of(tmp_path)
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        store.set("n", "a", 1)
        redis_server.execute("HSET", f"{prefix}:n", "by hand", "x")
        messages_of(lambda: store.get("n", "a"), StoreIncompleteError)


def test_a_key_added_by_hand_that_is_no_text_is_told(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    prefix = prefix_of(tmp_path)
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        store.set("n", "a", 1)
        redis_server.execute("HSET", f"{prefix}:n", b"\xff", b"x")
        redis_server.execute("ZADD", f"{{{prefix}:n}}:keys", 0, b"\xff")
        told = messages_of(lambda: store.keys("n"), StoreFormatError)
        assert "'n'" in told
        assert "to be UTF-8" in told
        assert store.get("n", "a") == 1


def test_something_else_under_a_key_of_the_store_is_left_alone(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    prefix = prefix_of(tmp_path)
    redis_server.execute("SET", f"{prefix}:n", "mine")
    with RedisStore(redis_server.url(), prefix=prefix) as store:
        for call in (
            lambda: store.get("n", "a"),
            lambda: store.set("n", "a", 1),
            lambda: store.clear("n"),
        ):
            messages_of(call, StoreFormatError)
    assert redis_server.execute("GET", f"{prefix}:n") == b"mine"
