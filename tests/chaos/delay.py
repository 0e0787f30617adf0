"""What a kill costs: `python -m tests.chaos.delay [--kills N]`.

One lane that always has work, two workers, and nothing that goes wrong but this: the worker that
holds the lane is killed at a random moment. Measured is how long the CRM is not called, and that
must not be longer than the lease and a second.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import replace

from tests.chaos.options import parse
from tests.chaos.report import quantile, table
from tests.chaos.stage import Stage, say, staged

#: Seconds that a call takes, so that the worker is killed within calls as well as between them.
LATENCY = 0.05
#: Seconds after which a call can't be one that the killed worker had sent.
SENT = 0.02
#: What starting to work may take on a busy machine, on top of the lease.
ALLOWED = 1.0


def main() -> None:
    options = replace(parse(), connections=1, workers=2, threads=1, writers=1, engine="worker")
    say(f"seed {options.seed}")
    with staged(options) as stage:
        seconds = measure(stage)
        late = [each for each in seconds if each > options.lease + ALLOWED]
        say(
            table(
                {
                    "kills": len(seconds),
                    "the lease": options.lease,
                    "seconds without a call: median": quantile(seconds, 0.5),
                    "p99": quantile(seconds, 0.99),
                    "longest": max(seconds),
                    "longer than the lease and a second": len(late),
                }
            )
        )
        if late:
            sys.exit(f"{len(late)} kills cost more than the lease (seed {options.seed}).")


def measure(stage: Stage) -> list[float]:
    """Kill the lane's holder again and again; gives the seconds until the next call, each time."""
    from tests.chaos.processes import Workers, Writers

    # More changes than can be needed, so that there is always work.
    options = replace(stage.options, changes=1_000_000, pace=1_000_000 / 100 / stage.options.kills)
    workers = Workers(options, stage.environment, options.directory)
    writers = Writers(options, stage.environment, options.directory)
    chance = options.random("delay")
    stage.crm.faults(latency=LATENCY)
    try:
        workers.start()
        writers.start()
        return [_one(stage, workers, chance) for _ in range(options.kills)]
    finally:
        writers.kill()
        workers.kill()


def _one(stage: Stage, workers: object, chance: random.Random) -> float:
    from tests.chaos.processes import Workers

    assert isinstance(workers, Workers)
    _until(lambda: all(place.warm for place in workers.places), workers)
    _until(lambda: bool(_holder()), workers)
    moment = time.monotonic() + chance.uniform(0.0, 1.0)
    holder = ""
    while time.monotonic() < moment or not holder:
        holder = _holder()
    victim = next(place for place in workers.places if f"/{place.pid}/" in holder)
    seen = stage.crm.counts()["calls"]
    victim.kill()
    workers.kills += 1
    killed = time.time()
    while True:
        later = [c["at"] for c in stage.crm.calls(after=seen) if c["at"] > killed + SENT]
        if later:
            workers.replace()
            return float(later[0] - killed)
        time.sleep(0.01)


def _holder() -> str:
    from xkit_crm.models import Lane

    return Lane.objects.values_list("holder", flat=True).first() or ""


def _until(condition: object, workers: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the workers don't work")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
