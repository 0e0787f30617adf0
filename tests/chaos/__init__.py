"""Proof of delivery: real workers against a real database and a CRM that misbehaves.

`python -m tests.chaos` lets writers change rows while workers and writers are killed, the database
goes away, Redis is flushed and the CRM fails in every way it can; then it compares what was
committed with what the CRM holds and with everything that it was ever sent. `docs/reliability.md`
says how to read it.
"""
