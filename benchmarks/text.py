"""Text that compresses as real prose does, the same in every process.

Servers compress large values, so what a saver that repeats the history takes up there depends on
how repetitive the text is. Documentation and licences in English shrink to 30 to 40 % with zlib
and to 44 to 52 % with PostgreSQL's own method; what is put together from a few phrases, to a tenth.
"""

from __future__ import annotations

import random
from itertools import accumulate

_COMMON = (
    "the of and to in is that for it was on are as with they at be this from have or by one had "
    "not but what all were when we there can an your which their if will each about how up out "
    "them then she many some so these would other into has more her two him see could no than "
    "first been its who now made over did down only way find use may long day get part order "
    "customer invoice parcel report account contract service ticket shipment refund"
)
# In prose, about half of all words are among the hundred most frequent ones.
_SHARE_OF_COMMON = 0.5
_ONSETS = ("b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "br", "st", "tr")
_RHYMES = ("a", "e", "i", "o", "u", "an", "er", "in", "on", "al", "ent", "ing", "est", "ort", "ame")


def text(seed: str, size: int) -> str:
    """Return prose of exactly `size` characters; each seed has its own."""
    source = random.Random(seed)
    parts: list[str] = []
    length = 0
    while length < size:
        parts.append(source.choice(_SENTENCES))
        length += len(parts[-1])
    return "".join(parts)[:size]


def _sentences(count: int) -> list[str]:
    """Return different sentences, each with a space at its end."""
    source = random.Random("sentences")
    common = _COMMON.split()
    rare = ["".join(_syllables(source)) for _ in range(3_000)]
    # Zipf's law: a word is the rarer, the higher its rank.
    weights = list(accumulate(1 / rank for rank in range(1, len(rare) + 1)))
    sentences = []
    for _ in range(count):
        words = [
            source.choice(common)
            if source.random() < _SHARE_OF_COMMON
            else source.choices(rare, cum_weights=weights)[0]
            for _ in range(source.randint(6, 18))
        ]
        if source.random() < 0.3:
            words.insert(source.randrange(len(words)), str(source.randrange(10_000, 100_000)))
        sentences.append(f"{' '.join(words).capitalize()}. ")
    return sentences


def _syllables(source: random.Random) -> list[str]:
    count = source.randint(2, 3)
    return [source.choice(_ONSETS) + source.choice(_RHYMES) for _ in range(count)]


# Made beforehand, since models and tools say it while time is measured.
_SENTENCES = _sentences(4_000)
