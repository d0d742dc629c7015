"""The suites. Each module has `measure`, which the worker runs, and `tables`."""
