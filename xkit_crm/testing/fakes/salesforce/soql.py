"""SOQL: what a query selects, and which rows meet its conditions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from xkit_crm.testing.fakes.salesforce.values import moment


class Malformed(Exception):
    pass


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>'(?:[^'\\]|\\.)*')
    | (?P<moment>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))
    | (?P<date>\d{4}-\d\d-\d\d)
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<word>[A-Za-z]\w*)
    | (?P<sign>[=(),])
    )""",
    re.X | re.ASCII,
)
_ESCAPE = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class Query:
    """One SELECT, of the few forms that are asked here; anything else is malformed."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._take("SELECT")
        self.fields = self._names()
        self._take("FROM")
        self.sobject = self._word()
        self.conditions: list[tuple[str, Callable[[Any], bool]]] = []
        if self._skip("WHERE"):
            self.conditions.append(self._condition())
            while self._skip("AND"):
                self.conditions.append(self._condition())
        self.order: list[str] = []
        if self._skip("ORDER"):
            self._take("BY")
            self.order = [self._ordered()]
            while self._skip(","):
                self.order.append(self._ordered())
        self.limit = int(self._any("number")) if self._skip("LIMIT") else None
        if self._tokens:
            raise Malformed(f"unexpected token: '{self._tokens[0][1]}'")

    def _any(self, kind: str) -> str:
        if not self._tokens or self._tokens[0][0] != kind:
            raise Malformed(f"expecting a {kind}, found {self._tokens[:1]}")
        return self._tokens.pop(0)[1]

    def _word(self) -> str:
        return self._any("word")

    def _skip(self, token: str) -> bool:
        if self._tokens and self._tokens[0] in (("word", token), ("sign", token)):
            self._tokens.pop(0)
            return True
        return False

    def _take(self, token: str) -> None:
        if not self._skip(token):
            raise Malformed(f"expecting {token}, found {self._tokens[:1]}")

    def _names(self) -> list[str]:
        names = [self._word()]
        while self._skip(","):
            names.append(self._word())
        if len(set(names)) != len(names):
            raise Malformed("duplicate field selected")
        return names

    def _ordered(self) -> str:
        name = self._word()
        self._take("DESC")
        return name

    def _condition(self) -> tuple[str, Callable[[Any], bool]]:
        name = self._word()
        if self._skip("="):
            return name, _equals(self._tokens.pop(0) if self._tokens else ("", ""))
        if self._skip("LIKE"):
            pattern = _like(self._any("text"))
            return name, lambda held: held is not None and bool(pattern.fullmatch(str(held)))
        if self._skip("INCLUDES"):
            wanted = self._list()
            return name, lambda held: any(
                set(one.split(";")) <= set(str(held or "").split(";")) for one in wanted
            )
        self._take("IN")
        wanted = self._list()
        return name, lambda held: held in wanted

    def _list(self) -> list[str]:
        self._take("(")
        found = [_unescaped(self._any("text"))]
        while self._skip(","):
            found.append(_unescaped(self._any("text")))
        self._take(")")
        return found


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise Malformed(f"unexpected token: '{text[at : at + 20]}'")
        at = found.end()
        yield str(found.lastgroup), found[str(found.lastgroup)]


def _unescaped(literal: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPE.get(found[1], found[1]), literal[1:-1])


def _like(literal: str) -> re.Pattern[str]:
    parts = re.findall(r"\\.|[^\\]", literal[1:-1], re.S)
    wild = {"%": ".*", "_": "."}
    pattern = "".join(wild.get(one) or re.escape(_unescaped(f"'{one}'")) for one in parts)
    return re.compile(pattern, re.S | re.I)


def _equals(token: tuple[str, str]) -> Callable[[Any], bool]:
    kind, said = token
    if kind == "text":
        wanted = _unescaped(said)
        return lambda held: isinstance(held, str) and held.casefold() == wanted.casefold()
    if kind == "number":
        return lambda held: held is not None and float(held) == float(said)
    if kind == "moment":
        wanted = moment(datetime.fromisoformat(said).astimezone(UTC))
        return lambda held: held == wanted
    if kind == "date":
        return lambda held: held == said
    if kind == "word" and said in ("null", "true", "false"):
        value = {"null": None, "true": True, "false": False}[said]
        return lambda held: held is value
    raise Malformed(f"unexpected token: '{said}'")
