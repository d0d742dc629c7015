"""Runs of graphs, one for each LangGraph feature, and a record of what they do."""

from tests.acceleration.runs import control, messages, nodes
from tests.acceleration.runs.runner import RUNS, Runner, say

__all__ = ["RUNS", "Runner", "control", "messages", "nodes", "say"]
