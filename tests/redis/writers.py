"""Writers that detect anything lost, applied twice or visible halfway."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from swarmstate.base import Batch, Expect, Query, Range
from swarmstate_redis import RedisStore

from tests.servers.waiting import wait_until


class Writers:
    """Append to logs from concurrent threads and tasks, each entry expecting the previous one.

    Entries are written in pairs, so that half a batch would be detected.
    """

    def __init__(self, store: RedisStore, threads: int, tasks: int) -> None:
        self._store = store
        self._threads = threads
        self._tasks = tasks
        self._stop = threading.Event()
        self.acknowledged: dict[str, int] = {}

    @staticmethod
    def _batch(name: str, number: int) -> Batch:
        last = f"{number - 1:06}" if number else None
        value = b"%d" % number
        put = {f"log/{number:06}": value, f"twin/{number:06}": value}
        return Batch(name, put=put, expect=Expect("log/", last and f"log/{last}"))

    def _thread(self, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            self._store.write([self._batch(name, number)])
            number += 1
            self.acknowledged[name] = number

    async def _task(self, name: str) -> None:
        number = 0
        while not self._stop.is_set():
            await self._store.awrite([self._batch(name, number)])
            number += 1
            self.acknowledged[name] = number

    async def _all_tasks(self) -> None:
        await asyncio.gather(*(self._task(f"task{number}") for number in range(self._tasks)))

    def run_while(self, fault: Callable[[], None]) -> None:
        """Write before, during and after `fault`; check that each log is complete."""
        with ThreadPoolExecutor(self._threads + 1) as pool:
            futures = [pool.submit(self._thread, f"thread{n}") for n in range(self._threads)]
            futures.append(pool.submit(asyncio.run, self._all_tasks()))
            try:
                self._wait_for_more(futures)
                fault()
                self._wait_for_more(futures)
            finally:
                self._stop.set()
            for future in futures:
                future.result()
        assert len(self.acknowledged) == self._threads + self._tasks
        for name, count in self.acknowledged.items():
            ranges = [Range.of_prefix("log/"), Range.of_prefix("twin/")]
            [found] = self._store.read([Query(name, ranges=ranges)])
            logged, twins = ([value for _, value in part] for part in found.ranges)
            assert logged == twins == [b"%d" % number for number in range(count)]

    def _wait_for_more(self, futures: list[Future[None]]) -> None:
        before = dict(self.acknowledged)

        def all_went_on() -> bool:
            now = dict(self.acknowledged)
            return len(now) == self._threads + self._tasks and all(
                count > before.get(name, 0) + 3 for name, count in now.items()
            )

        wait_until(
            lambda: all_went_on() or any(future.done() for future in futures), "all writers go on"
        )
