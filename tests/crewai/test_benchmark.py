"""The benchmark of CrewAI's memory measures both storages and checks their results."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.rounds import Rounds, WrongResultError
from benchmarks.suites import crewai_memory
from tests.crewai.helpers.releases import of_this_crewai


@of_this_crewai
def test_measures_and_compares(tmp_path: Path) -> None:
    parameters = {**crewai_memory.PARAMETERS, "records": 400, "dimensions": 16}
    results = {}
    for contender in crewai_memory.CONTENDER_NAMES:
        folder = tmp_path / contender
        folder.mkdir()
        results[contender] = [crewai_memory.measure(contender, folder, **parameters)]
    [table] = crewai_memory.tables(Rounds(results), parameters)
    assert len(table.rows) == 11
    assert all(len(row) == 4 and row[3] != "-" for row in table.rows)


def test_a_wrong_result_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crewai_swarmstate import SwarmStateStorage

    search = SwarmStateStorage.search
    monkeypatch.setattr(
        SwarmStateStorage, "search", lambda *args, **options: search(*args, **options)[::-1]
    )
    with pytest.raises(WrongResultError, match="nearest"):
        crewai_memory.measure("ours", tmp_path, records=400, dimensions=16)
