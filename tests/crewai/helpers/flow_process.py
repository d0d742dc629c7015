"""A flow that is killed in its second method, unless it is asked to continue."""

from __future__ import annotations

import os
import signal
import sys

from crewai.flow.flow import Flow, listen, start
from crewai.flow.persistence import persist
from crewai_swarmstate import SwarmStateFlowPersistence
from pydantic import BaseModel

uri, flow_id, mode = sys.argv[1:]


class State(BaseModel):
    id: str = flow_id
    steps: list[str] = []


@persist(SwarmStateFlowPersistence(uri))
class Work(Flow[State]):
    @start()
    def first(self) -> None:
        self.state.steps.append("first")

    @listen(first)
    def second(self) -> None:
        if mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        self.state.steps.append("second")


flow = Work()
flow.kickoff(inputs={"id": flow_id})
print("STEPS", flow.state.steps)
