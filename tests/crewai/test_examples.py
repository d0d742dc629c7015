"""The documentation and the examples of the CrewAI adapter run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from crewai_swarmstate import SwarmStateFlowPersistence, close_stores

from tests.docs.test_code_blocks import OF_CREWAI, ROOT, blocks

EXAMPLES = ROOT / "examples/crewai"


@pytest.mark.parametrize("page", sorted(OF_CREWAI), ids=str)
def test_python_blocks_run_in_order(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("documentation")
    assert blocks(page, "python")
    for line, source in blocks(page, "python"):
        code = compile("\n" * line + source, ROOT / page, "exec", dont_inherit=True)
        exec(code, module.__dict__)


def test_an_agent_and_a_crew_share_what_they_know(tmp_path: Path) -> None:
    example = subprocess.run(
        # In a folder that does not exist yet.
        [sys.executable, EXAMPLES / "crew_and_graph.py", tmp_path / "new"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert example.returncode == 0, example.stdout + example.stderr
    assert example.stdout.count("   ok: ") == 3


def test_the_state_of_a_flow_is_read_from_node(tmp_path: Path) -> None:
    store = tmp_path / "flows.db"
    flows = SwarmStateFlowPersistence(store)
    state = {"id": "order-7", "items": ["tea", "ü"], "n": 2**40, "price": 1.5, "note": None}
    flows.save_state("order-7", "collect", {"id": "order-7"})
    flows.save_state("order-7", "pay", state)
    flows.save_state("order-8", "large", {"id": "order-8", "text": "x" * 100_000})
    close_stores()

    for name in ("package.json", "read-flow.js"):
        (tmp_path / name).write_bytes((EXAMPLES / "node" / name).read_bytes())
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=tmp_path, check=True)

    def read(flow: str) -> subprocess.CompletedProcess[str]:
        command = ["node", "read-flow.js", str(store), flow]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert json.loads(read("order-7").stdout) == {"method": "pay", "state": state}
    assert len(json.loads(read("order-8").stdout)["state"]["text"]) == 100_000
    assert read("unknown").returncode == 1
