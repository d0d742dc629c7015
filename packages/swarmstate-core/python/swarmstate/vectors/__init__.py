"""Records with embeddings, found by meaning, by scope and category, and by content."""

from __future__ import annotations

from swarmstate.vectors._facts import UNKNOWN, known_filter, known_part
from swarmstate.vectors._records import Embedding, Match, Metric, Record, Stats
from swarmstate.vectors.collection import Collection, Where

__all__ = [
    "UNKNOWN",
    "Collection",
    "Embedding",
    "Match",
    "Metric",
    "Record",
    "Stats",
    "Where",
    "known_filter",
    "known_part",
]
