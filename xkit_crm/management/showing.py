"""How commands read what they are given and show what they find: files, tables, progress."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError, OutputWrapper
from django.db import models

from xkit_crm.exceptions import XkitError

#: The exit status where all went well and something is left to a person.
UNSETTLED = 3
#: The exit status of what Ctrl-C stopped.
STOPPED = 130


def read_json(name: str) -> Any:
    """What a file holds, standard input where it is named `-`; raises `CommandError`."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        return json.loads(text)
    except OSError as error:
        raise CommandError(f"{name} can't be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise CommandError(f"{name} isn't JSON: {error}.") from error


def model_named(label: str) -> type[models.Model]:
    """The model of `app.Model`; raises `CommandError`."""
    try:
        return apps.get_model(label)
    except (LookupError, ValueError) as error:
        known = sorted(model._meta.label for model in _bound())
        raise CommandError(
            f"There is no model {label!r}. "
            + (f"Bound to a CRM object are: {', '.join(known)}." if known else "None is bound yet.")
        ) from error


def _bound() -> Iterator[type[models.Model]]:
    from xkit_crm.sync.bindings import registered

    yield from {binding.model for binding in registered()}


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """An option's type: a number above 0."""

    def number(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not 0 < value < float("inf"):
            raise ArgumentTypeError(f"{text!r} is no number above 0")
        return value

    return number


def as_command_error(error: XkitError) -> CommandError:
    """The error as a command ends with it: what, where, and what to do."""
    problems = "".join(f"\n  {problem}" for problem in error.errors)
    hint = f"\n{error.hint}" if error.hint else ""
    return CommandError(f"{error.message}{problems}{hint}")


def counted(rows: Sequence[tuple[str, int]]) -> Iterator[str]:
    """Lines of what was counted and how many there are."""
    names = max((len(name) for name, _ in rows), default=0)
    numbers = max((len(f"{count:,}") for _, count in rows), default=0)
    for name, count in rows:
        yield f"{name.ljust(names)}  {f'{count:,}'.rjust(numbers)}"


class Progress:
    """One line on a terminal that says how far it is; nothing where nobody looks."""

    def __init__(
        self,
        stream: OutputWrapper,
        count: Callable[[], int],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._now = stream, now
        self._shown = stream.isatty()
        self._total = count() if self._shown else 0
        self._began = self._last = now()
        self._width = 0

    def __call__(self, done: int) -> None:
        now = self._now()
        if self._shown and now - self._last >= 0.5:
            self._last = now
            self._write(self._line(done, now - self._began))

    def finish(self) -> None:
        """Take the line away."""
        if self._width:
            self._write("")
            self._stream.write("\r", style_func=str, ending="")

    def _line(self, done: int, seconds: float) -> str:
        rate = done / seconds if seconds else 0.0
        share = min(100 * done // self._total, 100) if self._total else 100
        left = max(self._total - done, 0) / rate if rate else 0.0
        minutes, rest = divmod(round(left), 60)
        hours, minutes = divmod(minutes, 60)
        bar = "#" * (share // 5) + "." * (20 - share // 5)
        return (
            f"[{bar}] {share:3d}%  {done:,} of {self._total:,} rows  {rate:,.0f}/s  "
            f"{hours}:{minutes:02d}:{rest:02d} left"
        )

    def _write(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._width), style_func=str, ending="")
        self._stream.flush()
        self._width = len(line)
