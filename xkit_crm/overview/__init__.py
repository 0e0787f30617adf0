"""How it goes: what the admin's overview draws and Prometheus reads.

`figures.py` reads what was counted, `lanes.py` how each lane is now. Neither counts the log.
"""
