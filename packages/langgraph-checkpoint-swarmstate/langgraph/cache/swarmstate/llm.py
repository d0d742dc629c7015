"""LangChain's cache of what language models answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.caches import BaseCache
from langchain_core.messages import BaseMessage
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    Generation,
    GenerationChunk,
)
from langgraph.checkpoint.swarmstate.holding import StoreHolder
from langgraph.checkpoint.swarmstate.serde import SwarmStateSerializer

from swarmstate import dumps
from swarmstate.base import check_ttl
from swarmstate.entries import clear
from swarmstate.errors import DecodeError, EncodeError
from swarmstate.operations import Operation
from swarmstate.sharing import blob_hash

from . import entries

if TYPE_CHECKING:
    import os

    from langgraph.checkpoint.serde.base import SerializerProtocol

    from swarmstate import BaseStore

_PREFIX = "langchain-cache:"

_CLASSES: dict[str, type[Generation]] = {
    each.__name__: each
    for each in (Generation, GenerationChunk, ChatGeneration, ChatGenerationChunk)
}


class SwarmStateLLMCache(StoreHolder, BaseCache):
    """Keeps the answers of language models in a swarmstate store, for `set_llm_cache`.

    Sync and async, shared by all threads, event loops and processes that use the
    store. An answer that cannot be read is logged and treated as missing. While the store is
    unavailable, nothing is cached, and a warning is logged.

    Args:
        store: A store, a file's path, a URL (see `swarmstate.open`), or None
            (or ":memory:") for a new store in memory.
        ttl: Seconds until an answer expires; None means never.
        serde: Converts answers to bytes; `SwarmStateSerializer()` by default.

    `close()` closes a store that was opened here, but not one that you passed in.
    The object is a context manager, sync and async.

    Raises:
        TypeError: `store` has the wrong type, or `ttl` is not a number.
        ValueError: `ttl` is not positive and finite, or the URL is invalid.
        UnknownSchemeError: (a ValueError) No installed store handles such URLs.
        StoreUnavailableError: A file cannot be opened. Stores on servers connect on first
            use.
        StoreFormatError: A file is not a swarmstate database, or is from a newer release.
    """

    def __init__(
        self,
        store: BaseStore | str | os.PathLike[str] | None = None,
        *,
        ttl: float | None = None,
        serde: SerializerProtocol | None = None,
    ) -> None:
        check_ttl(ttl)
        self.serde = serde or SwarmStateSerializer()
        self.ttl = ttl
        self._hold(store)

    def lookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        """Return what the model answered to this prompt, or None."""
        return self._run(self._lookup(prompt, llm_string))

    async def alookup(self, prompt: str, llm_string: str) -> Sequence[Generation] | None:
        """Return an answer as `lookup` does."""
        return await self._arun(self._lookup(prompt, llm_string))

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Remember what the model answered to this prompt.

        Raises:
            EncodeError: The answer cannot be serialized.
        """
        self._run(self._update(prompt, llm_string, return_val))

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Remember an answer as `update` does."""
        await self._arun(self._update(prompt, llm_string, return_val))

    def clear(self, **kwargs: Any) -> None:
        """Forget all answers."""
        self._run(clear(_PREFIX))

    async def aclear(self, **kwargs: Any) -> None:
        """Forget all answers."""
        await self._arun(clear(_PREFIX))

    def _lookup(self, prompt: str, llm_string: str) -> Operation[Sequence[Generation] | None]:
        name = _name(prompt, llm_string)
        found = yield from entries.read(self.serde, [name], _unpacked)
        return found.get(name)

    def _update(
        self, prompt: str, llm_string: str, answer: Sequence[Generation]
    ) -> Operation[None]:
        name = _name(prompt, llm_string)
        return entries.write(self.serde, {name: ([*map(_packed, answer)], self.ttl)})


def _name(prompt: str, llm_string: str) -> str:
    return f"{_PREFIX}{blob_hash(dumps([prompt, llm_string])).hex()}"


def _packed(generation: Generation) -> tuple[str, Any, dict[str, Any] | None]:
    """Return the parts of a generation, its message as what it is.

    Within the generation, a field of type `BaseMessage`, pydantic would reduce it to that.
    """
    name = type(generation).__name__
    if _CLASSES.get(name) is not type(generation):
        raise EncodeError(
            f"expected answers of type {', '.join(_CLASSES)}, found {type(generation).__qualname__}"
        )
    content = generation.message if isinstance(generation, ChatGeneration) else generation.text
    return name, content, generation.generation_info


def _unpacked(answer: Any) -> Sequence[Generation]:
    """Return the generations that were packed, one by one, as an answer."""
    return [_generation(*each) for each in answer]


def _generation(name: str, content: Any, info: dict[str, Any] | None) -> Generation:
    """Undo `_packed`.

    Raises:
        DecodeError: The message is not one: its class is missing or not allowed.
    """
    if isinstance(content, str):
        return _CLASSES[name](text=content, generation_info=info)
    if not isinstance(content, BaseMessage):
        raise DecodeError(
            f"expected a message, found {type(content).__name__}: its class is missing, or "
            "the serializer does not allow it"
        )
    return _CLASSES[name](message=content, generation_info=info)  # type: ignore[call-arg]  # chats'
