"""Measurements: `python -m tests.bench [NAME...]` writes BENCHMARKS.md."""
