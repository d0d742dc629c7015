"""Short aliases for the adapters of agent frameworks, which are separate distributions."""
