"""The released langgraph-swarm: rules run before the model that would call a handoff tool."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.swarmstate import HandoffRouter, SwarmStateSaver
from langgraph.graph import START, StateGraph
from langgraph_swarm import SwarmState, create_handoff_tool, create_swarm
from pydantic import PrivateAttr
from swarmstate import HandoffGraph

Said = list[tuple[str, str]]


class Model(BaseChatModel):
    """Answers as an agent; asked about money, the triage agent calls its handoff tool."""

    agent: str
    _calls: Said = PrivateAttr(default_factory=list)

    def __init__(self, agent: str, calls: Said) -> None:
        super().__init__(agent=agent)  # type: ignore[call-arg]  # a pydantic field
        self._calls = calls

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Any:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        question = next(str(each.content) for each in reversed(messages) if each.type == "human")
        self._calls.append((self.agent, question))
        if self.agent == "triage" and "money" in question:
            call = {"name": "transfer_to_billing", "args": {}, "id": f"call-{len(self._calls)}"}
            reply = AIMessage("", tool_calls=[call])
        else:
            reply = AIMessage(f"{self.agent} answers {question!r}")
        return ChatResult(generations=[ChatGeneration(message=reply)])


def agents(calls: Said) -> list[Any]:
    return [
        create_agent(Model(name, calls), tools=[create_handoff_tool(agent_name=other)], name=name)
        for name, other in (("triage", "billing"), ("billing", "triage"))
    ]


def rules() -> HandoffGraph:
    graph = HandoffGraph(on_cycle="allow")
    graph.add_node("triage")
    graph.add_node("billing")
    last = "lower(messages[-1].content)"
    graph.add_edge("triage", "billing", when=f"matches({last}, 'invoice|refund')")
    graph.add_edge("billing", "triage", when=f"startswith({last}, 'something else')")
    return graph


def routed(calls: Said, router: HandoffRouter) -> StateGraph[Any, Any, Any, Any]:
    """The agents of a swarm behind our router, which replaces the swarm's own."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(SwarmState)
    builder.add_node("router", router.node)
    builder.add_edge(START, "router")
    for agent in agents(calls):
        builder.add_node(agent.name, agent)
    return builder


def say(graph: Any, text: str, is_async: bool) -> dict[str, Any]:
    given = {"messages": [("user", text)]}
    thread = {"configurable": {"thread_id": "1"}}
    if is_async:
        found: dict[str, Any] = asyncio.run(graph.ainvoke(given, thread))
        return found
    return dict(graph.invoke(given, thread))


CONVERSATION = [
    # The text, who answers, and which models are called without rules and with them.
    ("Hello", "triage", ["triage"], ["triage"]),
    ("Where is my invoice?", "billing", ["triage"], ["billing"]),
    ("And my refund?", "billing", ["triage"], ["billing"]),
    ("Something else: do you sell lamps?", "triage", ["triage"], ["triage"]),
    ("I want my money back", "billing", ["triage", "billing"], ["triage", "billing"]),
]


@pytest.mark.parametrize("is_async", [False, True])
def test_rules_hand_over_before_a_model_is_asked(is_async: bool) -> None:
    calls: Said = []
    router = HandoffRouter(rules(), default="triage")
    graph = routed(calls, router).compile(checkpointer=SwarmStateSaver())
    for text, answers, _, asked in CONVERSATION:
        before = len(calls)
        state = say(graph, text, is_async)
        # No agent is named while the first one talks, as in a swarm without rules.
        assert state.get("active_agent", "triage") == answers
        assert state["messages"][-1].content == f"{answers} answers {text!r}"
        assert calls[before:] == [(name, text) for name in asked]
    # Rules routed to billing and back; where none matched, the model ran, and handed off once.
    assert (router.by_rule, router.by_fallback) == (2, 3)
    handoffs = [each for each in state["messages"] if isinstance(each, ToolMessage)]
    assert [each.name for each in handoffs] == ["transfer_to_billing"]


def test_a_rule_saves_the_call_that_hands_over() -> None:
    text = "I want my money back"
    without: Said = []
    swarm = create_swarm(agents(without), default_active_agent="triage")
    plain = say(swarm.compile(checkpointer=SwarmStateSaver()), text, is_async=False)

    graph = HandoffGraph()
    graph.add_node("triage")
    graph.add_node("billing")
    graph.add_edge("triage", "billing", when="'money' in messages[-1].content")
    router = HandoffRouter(graph, default="triage")
    with_rules: Said = []
    ruled = say(
        routed(with_rules, router).compile(checkpointer=SwarmStateSaver()), text, is_async=False
    )
    assert plain["active_agent"] == ruled["active_agent"] == "billing"
    assert plain["messages"][-1].content == ruled["messages"][-1].content
    assert [agent for agent, _ in without] == ["triage", "billing"]
    assert [agent for agent, _ in with_rules] == ["billing"]
    assert router.by_rule == len(without) - len(with_rules) == 1


def test_the_model_is_asked_where_no_rule_holds() -> None:
    calls: Said = []

    def ask(state: SwarmState) -> Any:
        # A custom node that asks a model which agent takes over.
        reply = model.invoke(state["messages"])
        return {"messages": [reply]}

    model = Model("desk", calls)
    router = HandoffRouter(rules(), default="triage", fallback=ask)
    graph = routed(calls, router).compile()
    state = graph.invoke({"messages": [("user", "Hello")], "active_agent": "billing"})
    assert calls == [("desk", "Hello")]
    assert state["active_agent"] == "billing"
    assert (router.by_rule, router.by_fallback) == (0, 1)


def test_the_key_is_that_of_the_swarm() -> None:
    # The key of the active agent, in the swarm's schema and in what its handoff tools write.
    assert HandoffRouter(rules(), default="triage").key in SwarmState.__annotations__
    calls: Said = []
    swarm = create_swarm(agents(calls), default_active_agent="triage").compile()
    state = swarm.invoke({"messages": [("user", "I want my money back")]})
    assert state[HandoffRouter(rules(), default="triage").key] == "billing"
