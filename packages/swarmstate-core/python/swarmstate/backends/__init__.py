"""Short aliases for the modules of the stores."""
