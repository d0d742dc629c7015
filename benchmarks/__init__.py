"""Measurements beside other savers and stores; `python -m benchmarks --help`."""
