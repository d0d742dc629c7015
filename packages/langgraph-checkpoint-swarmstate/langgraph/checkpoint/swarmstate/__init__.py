"""LangGraph checkpointer on swarmstate."""
