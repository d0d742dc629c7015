"""Records with embeddings, found by what they mean, where they belong and what they hold."""

from __future__ import annotations

from swarmstate.vectors._records import UNKNOWN, Embedding, Match, Metric, Record
from swarmstate.vectors.collection import Collection, Where

__all__ = ["UNKNOWN", "Collection", "Embedding", "Match", "Metric", "Record", "Where"]
