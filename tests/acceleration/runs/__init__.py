"""Runs of graphs, one for each thing that LangGraph can do, and what they show."""

from tests.acceleration.runs import control, messages, nodes
from tests.acceleration.runs.runner import RUNS, Runner, say

__all__ = ["RUNS", "Runner", "control", "messages", "nodes", "say"]
