"""Threads, event loops, cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from swarmstate.base import BaseStore, Batch, Expect, Query, Range
from swarmstate.errors import ConflictError
from swarmstate.merge import GCounter
from swarmstate.testing._harness import Harness

THREADS = 8


def in_threads(work: Callable[[int], None], threads: int = THREADS) -> None:
    """Run `work` in several threads that start together; raise what any of them raises."""
    barrier = Barrier(threads)

    def start(number: int) -> None:
        barrier.wait()
        work(number)

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(start, number) for number in range(threads)]:
            future.result()


def append(store: BaseStore, namespace: str, value: bytes) -> None:
    """Append to a shared log, expecting the last key that was read, and retry on conflict."""
    while True:
        last = Range(reverse=True, limit=1, keys_only=True)
        [result] = store.read([Query(namespace, ranges=[last])])
        [found] = result.ranges
        last_key = found[0][0] if found else None
        key = f"{int(last_key or '0') + 1:06}"
        try:
            store.write([Batch(namespace, put={key: value}, expect=Expect("", last_key))])
        except ConflictError:
            continue
        return


class ConcurrencyContract(Harness):
    """Many callers at once."""

    def test_no_write_of_many_threads_is_lost(self, store: BaseStore) -> None:
        def work(number: int) -> None:
            for index in range(25):
                store.write([Batch("shared", put={f"{number}/{index}": b"v"})])
                store.set(f"own{number}", f"key{index}", [number, index])

        in_threads(work)
        assert len(store.keys("shared")) == THREADS * 25
        for number in range(THREADS):
            assert store.items(f"own{number}", "key7") == [("key7", [number, 7])]
        assert len(store) == THREADS * 50

    def test_readers_see_whole_batches_only(self, store: BaseStore) -> None:
        store.write([Batch("n", put={"a": b"0", "b": b"0"})])

        def work(number: int) -> None:
            for index in range(50):
                if number % 2:
                    value = f"{number} {index}".encode()
                    store.write([Batch("n", clear=True, put={"a": value, "b": value})])
                else:
                    [result] = store.read([Query("n", keys=["a", "b"], ranges=[Range()])])
                    a, b = result.values
                    assert a is not None
                    assert a == b
                    assert result.ranges == [[("a", a), ("b", a)]]

        in_threads(work)

    def test_copies_are_whole(self, store: BaseStore) -> None:
        store.write([Batch("n", put={"a": b"0", "b": b"0"})])

        def work(number: int) -> None:
            for index in range(25):
                if number % 2:
                    value = f"{number} {index}".encode()
                    store.write([Batch("n", put={"a": value, "b": value})])
                else:
                    store.copy("n", f"copy{number}")
                    [result] = store.read([Query(f"copy{number}", keys=["a", "b"])])
                    assert result.values[0] is not None
                    assert result.values[0] == result.values[1]

        in_threads(work)

    def test_one_thread_puts_what_is_absent(self, store: BaseStore) -> None:
        seen: list[list[bytes | None]] = [[] for _ in range(THREADS)]

        def work(number: int) -> None:
            for index in range(25):
                key = f"key{index}"
                store.write([Batch("n", put_if_absent={key: str(number).encode()})])
                seen[number] += store.read([Query("n", keys=[key])])[0].values

        in_threads(work)
        assert all(each == seen[0] for each in seen)

    def test_expectations_serialise_writers(self, store: BaseStore) -> None:
        def work(number: int) -> None:
            for index in range(10):
                append(store, "log", f"{number}/{index}".encode())

        in_threads(work, 4)
        [result] = store.read([Query("log", ranges=[Range()])])
        assert [key for key, _ in result.ranges[0]] == [f"{key:06}" for key in range(1, 41)]
        values = sorted(value for _, value in result.ranges[0])
        assert values == sorted(f"{n}/{i}".encode() for n in range(4) for i in range(10))

    def test_no_merge_of_many_threads_is_lost(self, store: BaseStore) -> None:
        async def count(replica: str) -> None:
            for number in range(10):
                await store.amerge("n", "count", GCounter({replica: number + 1}))

        def work(number: int) -> None:
            if number % 2:
                asyncio.run(count(str(number)))
                return
            counter = GCounter()
            for index in range(10):
                counter = counter.increment(str(number))
                merged = store.merge("n", "count", counter)
                assert merged.counts[str(number)] == index + 1
                store.set("n", f"other{number}", index)

        in_threads(work)
        assert store.get("n", "count").counts == {str(n): 10 for n in range(THREADS)}

    def test_a_value_that_was_set_is_never_merged_over(self, store: BaseStore) -> None:
        """A merge either sees it or is replaced by it."""

        def work(number: int) -> None:
            for index in range(20):
                if number:
                    store.merge("n", "count", GCounter({str(number): 1}))
                else:
                    store.set("n", "count", GCounter({"set": index + 1}))

        in_threads(work)
        assert store.get("n", "count").counts["set"] == 20

    def test_several_event_loops_at_once(self, store: BaseStore) -> None:
        async def task(number: int, index: int) -> None:
            await store.aset(f"n{number}", f"key{index}", index)
            await store.awrite([Batch("shared", put={f"{number}/{index}": b"v"})])
            assert await store.aget(f"n{number}", f"key{index}") == index

        async def main(number: int) -> None:
            await asyncio.gather(*(task(number, index) for index in range(25)))

        in_threads(lambda number: asyncio.run(main(number)), 4)
        asyncio.run(main(4))
        assert len(store.keys("shared")) == 5 * 25

    def test_sync_and_async_calls_at_once(self, store: BaseStore) -> None:
        async def main(number: int) -> None:
            for index in range(25):
                await store.aset("n", f"{number}/{index}", index)

        def work(number: int) -> None:
            if number % 2:
                asyncio.run(main(number))
            else:
                store.set_many("n", {f"{number}/{index}": index for index in range(25)})

        in_threads(work, 4)
        assert len(store) == 100

    def test_each_of_many_tasks_gets_its_own_answers(self, store: BaseStore) -> None:
        """Whatever they ask for at the same moment, and however much of it."""

        async def read(count: int) -> None:
            names = [f"n{(count + number) % 10}" for number in range(count)]
            asked = [
                Query(name, keys=["k"] * (count % 3), ranges=[Range()] * (number % 2))
                for number, name in enumerate(names)
            ]
            results = await store.aread(asked)
            for number, (name, result) in enumerate(zip(names, results, strict=True)):
                value = name.encode()
                assert result.values == [value] * (count % 3)
                assert result.ranges == [[("k", value)]] * (number % 2)

        async def main() -> None:
            await asyncio.gather(*(read(count) for count in range(20)))

        store.write([Batch(f"n{number}", put={"k": b"n%d" % number}) for number in range(10)])
        asyncio.run(main())

    def test_sync_calls_while_a_loop_runs_in_the_thread(self, store: BaseStore) -> None:
        async def main() -> None:
            await store.aset("n", "a", 1)
            store.set("n", "b", 2)
            assert store.get("n", "a") == 1
            assert await store.aget("n", "b") == 2
            store.copy("n", "m")
            assert store.namespaces() == ["m", "n"]
            assert len(store.snapshot()) == 4
            assert await store.akeys("m") == ["a", "b"]

        asyncio.run(main())

    def test_a_cancelled_call_leaves_the_store_usable(self, store: BaseStore) -> None:
        async def main() -> None:
            for delay in range(20):
                write = asyncio.ensure_future(
                    store.awrite([Batch(f"n{delay}", put={"a": b"1", "b": b"2"})])
                )
                read = asyncio.ensure_future(store.aread([Query("n0", ranges=[Range()])]))
                for _ in range(delay):
                    await asyncio.sleep(0)
                write.cancel()
                read.cancel()
                await asyncio.gather(write, read, return_exceptions=True)
            await store.aset("n", "a", 1)
            assert await store.aget("n", "a") == 1

        asyncio.run(main())
        for delay in range(20):
            found = store.read([Query(f"n{delay}", keys=["a", "b"])])[0].values
            assert found in ([None, None], [b"1", b"2"])
        store.set("n", "b", 2)
        assert store.keys("n") == ["a", "b"]

    def test_whoever_cancels_all_tasks_leaves_the_store_usable(self, store: BaseStore) -> None:
        """As a server does when it shuts down, including tasks that the store made for itself."""

        async def main() -> None:
            for turn in range(20):
                await store.awrite([Batch("n", put={"a": b"%d" % turn, "b": b"b%d" % turn})])
                reads = [
                    asyncio.ensure_future(store.aread([Query("n", keys=["a"])])) for _ in range(3)
                ]
                for _ in range(turn):
                    await asyncio.sleep(0)
                for each in asyncio.all_tasks() - {asyncio.current_task()}:
                    each.cancel()
                await asyncio.gather(*reads, return_exceptions=True)
                for _ in range(3):
                    [result] = await store.aread([Query("n", keys=["b"])])
                    assert result.values == [b"b%d" % turn]

        asyncio.run(main())
        assert store.keys("n") == ["a", "b"]

    def test_what_was_cancelled_never_lands_later(self, store: BaseStore) -> None:
        async def work(name: str) -> None:
            for turn in range(20):
                write = asyncio.ensure_future(store.aset(name, "key", b"cancelled" * 20_000))
                for _ in range(turn):
                    await asyncio.sleep(0)
                write.cancel()
                await asyncio.gather(write, return_exceptions=True)
                await store.aset(name, "key", turn)
                for _ in range(3):
                    assert await store.aget(name, "key") == turn

        async def main() -> None:
            await asyncio.gather(*(work(f"n{number}") for number in range(8)))

        asyncio.run(main())
