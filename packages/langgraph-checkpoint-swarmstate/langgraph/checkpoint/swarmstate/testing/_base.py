"""The hooks of the contract, and the differences that a saver may declare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.swarmstate.testing._driver import Driver, Mode

__all__ = ["ContractBase"]


class ContractBase:
    """The hooks and the declared differences of a saver under test.

    Attributes:
        modes: The kinds of methods that the saver has.
        lacks: The optional methods that it does not have, out of `prune`,
            `copy_thread` and `delete_for_runs`. Their tests are skipped.
        reopens: Whether `reopen` is implemented.
        extended_values: Whether the saver keeps values that LangGraph's own
            serializer loses or refuses (sets of tuples, integers beyond 64 bits, ...).
        encode_error: The exception for a value that cannot be stored.
    """

    modes: ClassVar[tuple[Mode, ...]] = ("sync", "async")
    lacks: ClassVar[frozenset[str]] = frozenset()
    reopens: ClassVar[bool] = True
    extended_values: ClassVar[bool] = True
    encode_error: ClassVar[type[Exception]] = TypeError

    def make_saver(self, tmp_path: Path) -> BaseCheckpointSaver[Any]:
        """Return an empty saver, which may keep its files in `tmp_path`."""
        raise NotImplementedError(f"{type(self).__name__} must define make_saver(tmp_path)")

    def reopen(self, saver: BaseCheckpointSaver[Any], tmp_path: Path) -> BaseCheckpointSaver[Any]:
        """Return a second saver over the storage of `saver`, which is still open."""
        raise NotImplementedError(f"{type(self).__name__} must define reopen(saver, tmp_path)")

    def close_saver(self, saver: BaseCheckpointSaver[Any]) -> None:
        """Release the resources of `saver`; by default do nothing."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test in every mode that the saver has."""
        if "mode" in metafunc.fixturenames:
            metafunc.parametrize("mode", self.modes)

    @pytest.fixture
    def driver(self, mode: Mode, tmp_path: Path) -> Iterator[Driver]:
        """A driver of an empty saver."""
        saver = self.make_saver(tmp_path)
        driver = Driver(saver, mode)
        yield driver
        driver.close()
        self.close_saver(saver)

    @pytest.fixture
    def second(self, driver: Driver, tmp_path: Path) -> Iterator[Driver]:
        """A driver of a second saver over the same storage."""
        if not self.reopens:
            pytest.skip("declared: cannot be opened twice")
        saver = self.reopen(driver.saver, tmp_path)
        yield driver.over(saver)
        self.close_saver(saver)

    def require(self, method: str) -> None:
        """Skip the test if the saver is declared to lack `method`."""
        if method in self.lacks:
            pytest.skip(f"declared: has no {method}")
