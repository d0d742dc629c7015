"""Making LangGraph itself faster, with opt-in patches that are checked and can be undone.

    from langgraph.checkpoint.swarmstate import accelerate

    accelerate()                 # for the rest of the process
    with accelerate():           # or for a block
        graph.invoke(...)

Importing this patches nothing.
"""

from .handle import Acceleration, PatchReport, accelerate, deaccelerate

__all__ = ["Acceleration", "PatchReport", "accelerate", "deaccelerate"]
