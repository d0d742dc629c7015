"""One storage, many users: savers, threads, event loops, canceled calls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.swarmstate.testing._base import ContractBase
from langgraph.checkpoint.swarmstate.testing._driver import Driver, Mode
from langgraph.checkpoint.swarmstate.testing._values import Point
from langgraph.checkpoint.swarmstate.testing.checkpoints import (
    Branch,
    at,
    ids,
    make_checkpoint,
    make_metadata,
    thread_of,
)

__all__ = ["SharingContract"]


class _Mirror(CipherProtocol):
    """A trivial cipher, whose output a plain reader cannot read."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "mirror", bytes(255 - byte for byte in plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "mirror"
        return bytes(255 - byte for byte in ciphertext)


class SharingContract(ContractBase):
    """Savers share all that they store, and no caller can block another forever."""

    def test_savers_see_each_others_newest_at_once(self, driver: Driver, second: Driver) -> None:
        branch = Branch(driver)
        for n in range(10):
            branch.driver, reader = (second, driver) if n % 2 else (driver, second)
            branch.put(n=n, log=list(range(n)))
            loaded = reader.load(at())
            assert loaded.config == branch.config
            assert loaded.checkpoint["channel_values"] == branch.values
            branch.driver.put_writes(branch.config, [("n", n)], "task")
            assert reader.load(at()).pending_writes == [("task", "n", n)]
            assert ids(reader.list(at(), limit=1)) == [branch.id]
            assert reader.list(None, limit=1)[0].config == branch.config
        driver.delete_thread("t")
        assert second.get_tuple(at()) is None

    def test_closing_one_saver_leaves_the_other(
        self, driver: Driver, mode: Mode, tmp_path: Path
    ) -> None:
        if not self.reopens:
            pytest.skip("declared: cannot be opened twice")
        branch = Branch(driver)
        branch.put(a=[1])
        for n in range(3):
            other = self.reopen(driver.saver, tmp_path)
            loaded = driver.over(other).load(at())
            assert loaded.checkpoint["channel_values"] == branch.values
            self.close_saver(other)
            branch.put(n=n)
            assert driver.load(at()).checkpoint["channel_values"] == branch.values

    def test_many_threads_put_at_once(self, driver: Driver) -> None:
        stored: list[Any] = []

        def make(name: int, n: int) -> Any:
            values = {"name": name, "n": n, "log": [name] * 50}
            versions: Any = dict.fromkeys(values, f"{name}.{n}")
            thread = at(f"thread {name % 4}")
            return thread, make_checkpoint(values, versions), make_metadata(n), versions

        def work(name: int) -> None:
            for n in range(5):
                arguments = make(name, n)
                config = driver.saver.put(*arguments)
                driver.saver.put_writes(config, [("n", n)], f"task {name}")
                stored.append((config, arguments[1]))

        async def awork(name: int) -> None:
            for n in range(5):
                arguments = make(name, n)
                config = await driver.saver.aput(*arguments)
                await driver.saver.aput_writes(config, [("n", n)], f"task {name}")
                stored.append((config, arguments[1]))

        async def work_all() -> None:
            await asyncio.gather(*(awork(name) for name in range(16)))

        if driver.mode == "sync":
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(work, range(16)))
        else:
            driver.run(work_all())
        assert len({thread_of(config)[2] for config, _ in stored}) == 80
        for config, checkpoint in stored:
            loaded = driver.load(config)
            assert loaded.checkpoint == checkpoint
            assert loaded.pending_writes is not None
            assert len(loaded.pending_writes) == 1
        assert len(driver.list(None)) == 80

    def test_sync_calls_inside_a_running_loop(self, driver: Driver) -> None:
        if self.modes != ("sync", "async"):
            pytest.skip("declared: sync or async methods only")
        saver = driver.saver

        async def main() -> None:
            config = saver.put(at(), make_checkpoint({"a": 1}), make_metadata(), {"a": 1})
            saver.put_writes(config, [("a", 2)], "task")
            found = await saver.aget_tuple(at())
            assert found == saver.get_tuple(at())
            assert [*saver.list(at())] == [item async for item in saver.alist(at())] == [found]
            saver.delete_thread("t")
            assert await saver.aget_tuple(at()) is None

        asyncio.run(main())

    def test_several_event_loops_share_a_saver(self, driver: Driver) -> None:
        if "async" not in self.modes:
            pytest.skip("declared: has no async methods")
        saver = driver.saver
        barrier = threading.Barrier(4)

        async def main(name: int) -> None:
            for n in range(10):
                checkpoint = make_checkpoint({"n": n})
                config = await saver.aput(at(f"{name}"), checkpoint, make_metadata(n), {"n": 1})
                found = await saver.aget_tuple(config)
                assert found is not None
                assert found.checkpoint["channel_values"] == {"n": n}

        def run(name: int) -> None:
            barrier.wait()
            asyncio.run(main(name))

        for _ in range(2):  # loops one after another, and four at once
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(run, range(4)))
        assert len(driver.list(None)) == 80

    def test_a_cancelled_call_leaves_the_saver_usable(self, driver: Driver) -> None:
        if "async" not in self.modes:
            pytest.skip("declared: has no async methods")
        saver = driver.saver

        async def main() -> int:
            cancelled = 0
            for n in range(40):
                checkpoint = make_checkpoint({"n": n, "log": ["x" * 1000] * 100})
                put = asyncio.ensure_future(
                    saver.aput(at(), checkpoint, make_metadata(n), {"n": 1, "log": 1})
                )
                read = asyncio.ensure_future(saver.aget_tuple(at()))
                for _ in range(n % 5):
                    await asyncio.sleep(0)
                put.cancel()
                read.cancel()
                outcomes = await asyncio.gather(put, read, return_exceptions=True)
                cancelled += sum(isinstance(each, asyncio.CancelledError) for each in outcomes)
                async for item in saver.alist(at()):
                    assert item.checkpoint["channel_values"]["log"] == ["x" * 1000] * 100
                    break
            final = make_checkpoint({"n": -1})
            await saver.aput(at(), final, make_metadata(), {"n": 1})
            found = await saver.aget_tuple(at("t", "", final["id"]))
            assert found is not None
            assert found.checkpoint == final
            return cancelled

        assert asyncio.run(main()) > 0

    def test_a_serializer_assigned_later_is_used(self, driver: Driver, second: Driver) -> None:
        Branch(driver, "plain").put(secret="before")
        driver.saver.serde = EncryptedSerializer(_Mirror(), JsonPlusSerializer())
        branch = Branch(driver)
        config = branch.put(secret=["long enough to stand alone " * 50], small="s")
        driver.put_writes(config, [("secret", "written")], "task")
        loaded = driver.load(at())
        assert loaded.checkpoint["channel_values"] == branch.values
        assert loaded.pending_writes == [("task", "secret", "written")]
        assert driver.list(at()) == [loaded]
        # Earlier values stay readable; a reader without the cipher fails.
        assert driver.load(at("plain")).checkpoint["channel_values"] == {"secret": "before"}
        with pytest.raises(Exception):  # noqa: B017, PT011 - each saver has an error of its own
            second.get_tuple(at())
        assert second.load(at("plain")).checkpoint["channel_values"] == {"secret": "before"}
        second.saver.serde = driver.saver.serde
        assert second.load(at()) == loaded

    def test_with_allowlist_shares_the_storage(self, driver: Driver) -> None:
        strict = JsonPlusSerializer(allowed_msgpack_modules=None)
        driver.saver.serde = strict
        allowed: Collection[tuple[str, ...]] = [(Point.__module__, Point.__name__)]
        clone = driver.saver.with_allowlist(allowed)
        assert clone is not driver.saver
        assert driver.saver.serde is strict
        cloned = driver.over(clone)
        config = Branch(driver).put(point=Point(1, 2), a=1)
        assert cloned.load(config).checkpoint["channel_values"] == {"point": Point(1, 2), "a": 1}
        found = driver.load(config).checkpoint["channel_values"]["point"]
        assert not isinstance(found, Point), "a class outside the allowlist was constructed"
        Branch(cloned, "u").put(b=2)
        assert driver.load(at("u")).checkpoint["channel_values"] == {"b": 2}
        driver.delete_thread("u")
        assert cloned.get_tuple(at("u")) is None

    def test_closing_leaves_no_thread_behind(self, mode: Mode, tmp_path: Path) -> None:
        before = set(threading.enumerate())
        for n in range(3):
            place = tmp_path / str(n)
            place.mkdir()
            saver: BaseCheckpointSaver[Any] = self.make_saver(place)
            driver = Driver(saver, mode)
            Branch(driver).put(a=1)
            assert len(driver.list(at())) == 1
            driver.close()
            self.close_saver(saver)
        assert set(threading.enumerate()) <= before
