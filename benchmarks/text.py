"""Text that reads like an agent's conversation, the same in every process."""

from __future__ import annotations

import random

_OPENINGS = (
    "The invoice for order",
    "According to the shipping log, parcel",
    "The customer wrote again about ticket",
    "After the last deployment, service",
    "The quarterly report lists account",
    "Our records show that contract",
)
_MIDDLES = (
    "was updated at the warehouse in Rotterdam",
    "does not match the amount that was agreed on",
    "has been waiting for approval since Tuesday",
    "returned an unexpected status after the third retry",
    "should be moved to the new region before the audit",
    "needs a signature from the regional manager",
)
_ENDINGS = (
    "so a refund of the difference is due.",
    "and nobody has confirmed the date yet.",
    "which explains the delay the client noticed.",
    "therefore I would suggest checking the attachment first.",
    "although the dashboard still marks it as done.",
    "and the follow-up is planned for next week.",
)


def text(seed: str, size: int) -> str:
    """Return prose of exactly `size` characters; each seed has its own."""
    source = random.Random(seed)
    parts: list[str] = []
    length = 0
    while length < size:
        subject = f"{source.choice(_OPENINGS)} {source.randrange(10_000, 100_000)}"
        parts.append(f"{subject} {source.choice(_MIDDLES)}, {source.choice(_ENDINGS)} ")
        length += len(parts[-1])
    return "".join(parts)[:size]
