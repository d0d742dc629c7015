"""A model and an embedder that work offline and always answer in the same way."""

from __future__ import annotations

import hashlib
import math
import re
from typing import Any

from crewai.llms.base_llm import BaseLLM
from pydantic import Field

DIMENSIONS = 64


class ScriptedLLM(BaseLLM):
    """Answers every question with the same text, and counts the questions."""

    answer: str = "done"
    prompts: list[str] = Field(default_factory=list)

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
        self.prompts.append(str(messages))
        return f"Thought: I know it.\nFinal Answer: {self.answer}"

    async def acall(self, messages: Any, *args: Any, **kwargs: Any) -> str:
        return self.call(messages)


def embed(texts: list[str]) -> list[list[float]]:
    """Return unit vectors that are nearer the more words the texts share."""
    return [_embed(text) for text in texts]


def _embed(text: str) -> list[float]:
    vector = [0.0] * DIMENSIONS
    for word in re.findall(r"\w+", text.lower()):
        digest = hashlib.sha256(word.encode()).digest()
        vector[digest[0] % DIMENSIONS] += 1.0 if digest[1] % 2 else -1.0
    norm = math.sqrt(sum(each * each for each in vector)) or 1.0
    return [each / norm for each in vector]
