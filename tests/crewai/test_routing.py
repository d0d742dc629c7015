"""Real flows whose routers ask a graph, and a method only when no rule matches."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from crewai.flow.flow import Flow, and_, listen, start
from crewai.flow.persistence import persist
from crewai_swarmstate import SwarmStateFlowPersistence, handoff_router
from pydantic import BaseModel
from swarmstate import HandoffGraph
from swarmstate.errors import GraphError


def rules() -> HandoffGraph:
    graph = HandoffGraph()
    for node in ("triage", "billing", "technician", "person"):
        graph.add_node(node)
    graph.add_edge("triage", "person", when="customer.vip", priority=10)
    graph.add_edge("triage", "billing", when="topic == 'invoice' and amount <= 100")
    graph.add_edge("triage", "technician", when="matches(lower(text), 'broken|dark')")
    graph.add_edge("billing", "person", when="amount > 50")
    return graph


class Customer(BaseModel):
    vip: bool = False


class Ticket(BaseModel):
    id: str = "ticket"
    topic: str = ""
    text: str = ""
    amount: int = 0
    customer: Customer = Customer()
    steps: list[str] = []


class Support(Flow[Ticket]):
    @start()
    def triage(self) -> str:
        self.state.steps.append("triage")
        return "triaged"

    @handoff_router(rules(), triage, emit="unclear")
    def after_triage(self, result: str) -> str | None:
        """Decide what no rule decides, as a model would."""
        self.state.steps.append(f"asked: {result}")
        return "unclear" if self.state.text else None

    @listen("billing")
    def charge(self) -> None:
        self.state.steps.append("charge")

    @handoff_router(rules(), charge, node="billing")
    async def after_charge(self) -> str | None:
        self.state.steps.append("asked")
        return None

    @listen("technician")
    def repair(self) -> None:
        self.state.steps.append("repair")

    @listen("person")
    def call_back(self) -> None:
        self.state.steps.append("call back")

    @listen("unclear")
    def inquire(self) -> None:
        self.state.steps.append("inquire")


@pytest.mark.parametrize(
    ("ticket", "steps"),
    [
        ({"text": "The lamp is DARK"}, ["repair"]),
        ({"customer": {"vip": True}, "text": "dark"}, ["call back"]),
        ({"topic": "invoice", "amount": 40}, ["charge", "asked"]),
        ({"topic": "invoice", "amount": 60}, ["charge", "call back"]),
        ({"text": "hello"}, ["asked: triaged", "inquire"]),
        ({}, ["asked: triaged"]),
    ],
)
def test_a_flow_goes_where_the_rules_say(ticket: dict[str, Any], steps: list[str]) -> None:
    flow = Support()
    flow.kickoff(inputs=ticket)
    assert flow.state.steps == ["triage", *steps]


def test_an_async_kickoff_goes_the_same_way() -> None:
    flow = Support()
    asyncio.run(flow.kickoff_async(inputs={"topic": "invoice", "amount": 60}))
    assert flow.state.steps == ["triage", "charge", "call back"]


def test_an_unstructured_state_is_routed_and_kept() -> None:
    persistence = SwarmStateFlowPersistence("memory://")

    @persist(persistence)
    class Plain(Flow[dict[str, Any]]):
        @start()
        def read(self) -> None:
            self.state["customer"] = {"vip": self.state["vip"]}

        @handoff_router(rules(), "read", node="triage")
        def route(self) -> str:
            return "nobody"

        @listen("person")
        def greet(self) -> str:
            return "welcome back"

        @listen("nobody")
        def wait(self) -> str:
            return "please wait"

    assert Plain().kickoff(inputs={"vip": True}) == "welcome back"
    assert Plain().kickoff(inputs={"id": "flow", "vip": False}) == "please wait"
    assert [step.method for step in persistence.history("flow")] == ["wait", "route", "read"]


def test_crewai_knows_where_a_router_may_lead() -> None:
    methods = Support.flow_definition().methods
    assert methods["after_triage"].emit == ["person", "billing", "technician", "unclear"]
    # CrewAI 1.14.7 keeps no descriptions.
    description = getattr(methods["after_triage"], "description", Support.after_triage.__doc__)
    assert description == "Decide what no rule decides, as a model would."
    assert methods["after_charge"].emit == ["person"]
    method: Any = Support.after_charge
    assert inspect.iscoroutinefunction(method.unwrap())


def test_a_node_that_is_not_there_is_named_at_once() -> None:
    with pytest.raises(GraphError, match="'nobody'"):
        handoff_router(rules(), "nobody")
    with pytest.raises(GraphError, match="pass node="):
        handoff_router(rules(), and_("triage", "billing"))
    handoff_router(rules(), and_("triage", "billing"), node="triage")


class Guarded:
    """A state as CrewAI 1.14.7 passes it."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def _unwrap(self) -> dict[str, Any]:
        return self._state


def test_a_guarded_state_is_looked_into() -> None:
    route: Any = handoff_router(rules(), "read", node="triage")(lambda self: "nobody")
    assert route(SimpleNamespace(state=Guarded({"customer": {"vip": True}}))) == "person"
    assert route(SimpleNamespace(state=Guarded({"customer": {"vip": False}}))) == "nobody"
