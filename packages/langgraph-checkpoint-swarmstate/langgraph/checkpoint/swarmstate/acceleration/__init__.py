"""Making LangGraph itself faster: patches that are asked for, checked, and undone.

    from langgraph.checkpoint.swarmstate import accelerate

    accelerate()                 # for the rest of the process
    with accelerate():           # or for a block
        graph.invoke(...)

Nothing is patched when this is imported.
"""

from .handle import Acceleration, PatchReport, accelerate, deaccelerate

__all__ = ["Acceleration", "PatchReport", "accelerate", "deaccelerate"]
