"""`python -m tests.chaos [--seed N]`: one run, its table and its verdict."""

from __future__ import annotations

import sys
import time

from tests.chaos.options import parse
from tests.chaos.stage import Stage, say, staged


def main() -> None:
    options = parse()
    say(f"seed {options.seed}; to replay it:\n  {options.replay()}")
    with staged(options) as stage:
        if not run(stage):
            sys.exit(1)


def run(stage: Stage) -> bool:
    """Make trouble, let it end, judge; gives whether delivery kept its word."""
    from tests.chaos import scene
    from tests.chaos.conductor import Conductor
    from tests.chaos.processes import Workers, Writers

    options = stage.options
    workers = Workers(options, stage.environment, options.directory)
    writers = Writers(options, stage.environment, options.directory)
    conductor = Conductor(options, workers, writers, stage.crm, stage.database)
    begun = time.monotonic()
    try:
        workers.start()
        writers.start()
        conductor.run(say)
        troubled = time.monotonic() - begun
        conductor.calm()
        wrong = scene.settle(options, conductor, workers, writers, say)
    finally:
        writers.kill()
        workers.kill()
    took = scene.Took(trouble=troubled, everything=time.monotonic() - begun)
    return scene.judge(options, conductor, stage.crm, wrong, took, say)


if __name__ == "__main__":
    main()
