"""What the hot paths cost, as ratios against a baseline in the same run.

`python -m tests.benchmarks` prints the table, for SQLite and for PostgreSQL where a server is
there. No test asserts on a clock; the figures are to be looked at.
"""
