"""Benchmarks against other savers and stores; see `python -m benchmarks --help`."""
