"""Run work in threads that start together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import perf_counter


def run_in_threads(threads: int, work: Callable[[int], object]) -> float:
    """Call `work(number)` in each of `threads` threads; return the seconds until all are done."""
    barrier = Barrier(threads + 1)

    def start(number: int) -> None:
        barrier.wait()
        work(number)

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(start, number) for number in range(threads)]
        barrier.wait()
        started = perf_counter()
        for future in running:
            future.result()
        return perf_counter() - started
