"""The stores, one module each; thin aliases of where they are defined."""
