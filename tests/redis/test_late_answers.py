"""Servers that answer late, or accept without a greeting: timely errors, no duplicate sends."""

from __future__ import annotations

import asyncio

import pytest
from swarmstate.errors import StoreUnavailableError
from swarmstate_redis import RedisStore

from tests.redis.messages import messages_of
from tests.servers.redis import RedisServer


def test_an_answer_that_comes_too_late_is_an_error_and_no_second_write(own: RedisServer) -> None:
    with RedisStore(own.url(), timeout=0.3) as store:
        store.set("n", "k", 1)

        async def late() -> None:
            await store.aget("n", "k")
            with own.paused():
                await store.aset("n", "k", 2)

        assert "did not answer" in messages_of(lambda: asyncio.run(late()), StoreUnavailableError)
        with own.paused():
            late_write = messages_of(lambda: store.set("n", "k", 3), StoreUnavailableError)
        assert "did not answer" in late_write
        store.set("n", "k", 4)
        assert store.get("n", "k") == 4


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_value_that_is_not_taken_in_time_is_an_error_and_not_sent_again(
    own: RedisServer, mode: str
) -> None:
    """It is larger than the buffers on its way."""
    large = b"x" * 50_000_000

    async def write() -> None:
        async with RedisStore(own.url(), timeout=0.3, retry_for=60) as store:
            await store.aget("n", "k")
            with own.paused():
                await store.aset("n", "k", large)

    with RedisStore(own.url(), timeout=0.3, retry_for=60) as store:
        store.get("n", "k")
        if mode == "async":
            late = messages_of(lambda: asyncio.run(write()), StoreUnavailableError)
        else:
            with own.paused():
                late = messages_of(lambda: store.set("n", "k", large), StoreUnavailableError)
        assert "did not answer" in late
        assert store.get("n", "k") is None


def test_an_answer_that_comes_too_late_is_not_taken_for_another_one(own: RedisServer) -> None:
    async def main() -> None:
        async with RedisStore(own.url(), timeout=0.3) as store:
            await store.aset_many("n", {"a": 1, "b": 2})
            for _ in range(3):
                with own.paused(), pytest.raises(StoreUnavailableError):
                    await store.aget("n", "a")
                assert await store.aget("n", "b") == 2

    asyncio.run(main())


def test_a_server_that_accepts_and_does_not_greet_is_unreachable(own: RedisServer) -> None:
    async def main() -> str:
        async with RedisStore(own.url(), timeout=0.3, retry_for=0) as store:
            with own.paused(), pytest.raises(StoreUnavailableError) as raised:
                await asyncio.wait_for(store.aset("n", "k", 1), 30)
            await store.aset("n", "k", 2)
            assert store.get("n", "k") == 2
        return str(raised.value)

    assert "cannot be reached" in asyncio.run(main())


def test_a_server_that_does_not_greet_is_tried_again(own: RedisServer) -> None:
    async def main() -> None:
        impatient = RedisStore(own.url(), timeout=0.3, retry_for=0)
        async with impatient, RedisStore(own.url(), timeout=0.3, retry_for=60) as store:
            with own.paused():
                writing = asyncio.create_task(store.aset("n", "k", 1))
                # A call that began later has given up, so the writer's first attempt has ended,
                # too.
                with pytest.raises(StoreUnavailableError):
                    await asyncio.wait_for(impatient.aget("n", "k"), 30)
            await asyncio.wait_for(writing, 60)
            assert await store.aget("n", "k") == 1

    asyncio.run(main())


def test_closing_does_not_wait_for_a_server_that_does_not_greet(own: RedisServer) -> None:
    async def main() -> None:
        store = RedisStore(own.url(), timeout=0.3, retry_for=0)
        with own.paused():
            writing = asyncio.create_task(store.aset("n", "k", 1))
            await asyncio.sleep(0)
            await asyncio.wait_for(store.aclose(), 30)
            with pytest.raises(StoreUnavailableError):
                await asyncio.wait_for(writing, 30)

    asyncio.run(main())
