"""Short paths to the adapters for agent frameworks, which are distributions of their own."""
