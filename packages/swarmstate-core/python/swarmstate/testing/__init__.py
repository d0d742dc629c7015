"""Contract suites that a store joins by subclassing; see `StoreContract`."""
