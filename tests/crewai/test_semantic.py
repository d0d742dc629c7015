"""CrewAI's memory finds memories by meaning, with a real model, offline."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from crewai.memory.unified_memory import Memory
from crewai_swarmstate import install

from tests.crewai.helpers.offline import ScriptedLLM

MODEL = Path(__file__).parents[2] / "examples/minilm.py"


@pytest.fixture(scope="module")
def embed() -> Any:
    spec = importlib.util.spec_from_file_location("minilm", MODEL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.embed


def test_what_is_meant_is_recalled(tmp_path: Path, embed: Any) -> None:
    install(tmp_path / "memory.db")
    memory = Memory(llm=ScriptedLLM(model="scripted"), embedder=embed)
    for number, content in enumerate(
        ("The customer cannot eat peanuts", "Invoices are due in March", "The dog is called Pixel")
    ):
        memory.remember(
            content, scope=f"/facts/{number}", categories=["fact"], importance=0.5, metadata={}
        )
    memory.drain_writes()
    for question, expected in (
        ("Which food must the kitchen avoid?", "peanuts"),
        ("When do we have to be paid?", "Invoices"),
        ("What is the name of the pet?", "Pixel"),
    ):
        best = memory.recall(question, limit=1, depth="shallow")
        assert expected in best[0].record.content
