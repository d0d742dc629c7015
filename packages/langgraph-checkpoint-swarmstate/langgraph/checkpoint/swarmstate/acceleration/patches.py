"""The list of patches, and what each of them was made for.

The modules with the replacements import LangGraph's internals, so they are imported only after
the checks have passed. Everything that a patch replaces or relies on is listed with the digest
of its source (`guarding.digest`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .guarding import Versions


class Patch(NamedTuple):
    """A patch.

    Attributes:
        name: Its name.
        summary: What it does, in a few words.
        module: The sibling module whose `REPLACEMENTS` it installs. The module's `engage`, if
            any, is called before that, and its `release` when they are removed.
        versions: The versions of distributions that it may be applied to.
        sources: Digests of the sources that it replaces or relies on.
    """

    name: str
    summary: str
    module: str
    versions: Mapping[str, Versions]
    sources: Mapping[str, str]


_LANGGRAPH = {"langgraph": Versions((1, 2), (1, 3))}
_LANGCHAIN = {"langchain-core": Versions((1, 0), (2,))}
_MODELS = "langchain_core.language_models.chat_models"
_CONFIG = "langchain_core.runnables.config"

_ALL = (
    Patch(
        "messages",
        "merging messages looks only at new ones, not at the whole history",
        "reducing",
        _LANGGRAPH,
        {
            "langgraph.channels.binop:BinaryOperatorAggregate.update": "14e0d0d09473547e",
            # The whole module, because the function is wrapped.
            "langgraph.graph:message": "3123db7c673ea55f",
        },
    ),
    Patch(
        "saving",
        "a run writes to a swarmstate saver in few round trips, mostly without extra threads",
        "saving",
        _LANGGRAPH,
        {
            "langgraph.pregel._loop:BackgroundExecutor": "adc68971dd87495e",
            "langgraph.pregel._loop:SyncPregelLoop._checkpointer_put_after_previous": (
                "48e963eb32f32061"
            ),
        },
    ),
    Patch(
        "async_saving",
        "an async run writes to a swarmstate saver in few round trips",
        "async_saving",
        _LANGGRAPH,
        {
            "langgraph.pregel._loop:AsyncBackgroundExecutor": "d4f0217556063035",
            "langgraph.pregel._loop:AsyncPregelLoop._checkpointer_put_after_previous": (
                "3b1c10037708f577"
            ),
        },
    ),
    Patch(
        "threads",
        "a sync run reuses the threads of an earlier run",
        "threads",
        {**_LANGGRAPH, **_LANGCHAIN},
        {
            "langgraph.pregel._executor:BackgroundExecutor": "adc68971dd87495e",
            f"{_CONFIG}:ContextThreadPoolExecutor": "5cfe4b277fa0a46d",
            # The function that the decorator for context managers wraps.
            "langgraph.pregel._executor:get_executor_for_config.__wrapped__": "a3079dd1846fef50",
        },
    ),
    Patch(
        "callbacks",
        "callback managers of runs without handlers are created directly",
        "callbacks",
        _LANGCHAIN,
        {
            "langchain_core.callbacks.manager:ParentRunManager.get_child": "49b88116649ed4c5",
            f"{_CONFIG}:_merge_metadata_dicts": "241e795ab8245fb7",
            "langchain_core.callbacks.base:BaseCallbackManager": "2215c554a5c24625",
        },
    ),
    Patch(
        "runtimes",
        "the runtime passed to tasks is created without looking up its fields",
        "runtimes",
        _LANGGRAPH,
        {
            "langgraph.runtime:Runtime": "dae3cbd8f9acce77",
            "langgraph.runtime:Runtime.override": "9a71feffd58b6b0e",
            "langgraph.runtime:Runtime.patch_execution_info": "bd0b4fb4b8a178cf",
            "langgraph.runtime:ExecutionInfo": "5f195527404cf594",
        },
    ),
    Patch(
        "streaming",
        "a run's event queue takes no lock while nothing is waiting for events",
        "streaming",
        _LANGGRAPH,
        {
            "langgraph.pregel.main:SyncQueue": "6f8402dd889b2137",
            "langgraph._internal._queue:Semaphore": "bfbff8fb63cfdc09",
        },
    ),
    Patch(
        "chat_models",
        "a chat model call passes plain messages on after a quick check of each",
        "chat_models",
        _LANGCHAIN,
        {
            f"{_MODELS}:_format_for_tracing": "b3ed528cc92af0ef",
            f"{_MODELS}:_normalize_messages": "7f8d5abc352b00cb",
            f"{_MODELS}:convert_to_messages": "337345d1bbddaa77",
            f"{_MODELS}:BaseChatModel._convert_input": "24287b0abdaea0fe",
            "langchain_core.prompt_values:ChatPromptValue": "8fbbfabaa35affa2",
        },
    ),
    Patch(
        "signatures",
        "the parameters of savers and models are looked up once, not on each run and call",
        "signatures",
        {**_LANGGRAPH, **_LANGCHAIN},
        {
            f"{_MODELS}:_signature_parameters": "72712e7be17eaec8",
            "langgraph.pregel._loop:put_writes_accepts_task_path": "1c85ee3421c4a9a5",
        },
    ),
    Patch(
        "collector",
        "Python's garbage collector runs less often, which pays off with many runs at once",
        "collector",
        _LANGGRAPH,
        {},
    ),
)

PATCHES: Mapping[str, Patch] = {patch.name: patch for patch in _ALL}
