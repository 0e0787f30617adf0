"""Capture and delivery at scale, beside peers that do the same work in the same run.

`python -m tests.benchmarks.delivery` prints one table; see `docs/performance.md`. No test asserts
on a clock; the figures are to be looked at.
"""
