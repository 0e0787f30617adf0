"""COQL: what a query selects, and which records meet its conditions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from xkit_crm.testing.fakes.zoho import answers, objects
from xkit_crm.testing.fakes.zoho.values import DATETIME


class Refused(Exception):
    """A query that can't be run, with the vendor's answer."""


_QUERY = re.compile(
    r"select (?P<columns>\w+(?:, ?\w+)*) from (?P<module>\w+) where (?P<where>.+?)"
    r"(?P<order> order by id desc)? limit (?P<limit>\d+)",
    re.DOTALL,
)
_TOKEN = re.compile(r"\s*('(?:[^'\\]|'')*'|[(),]|!=|=|[\w.+-]+)")


class Query:
    """One query. Quotes in a text are doubled, brackets stand around each two conditions; a
    backslash is understood by nobody."""

    def __init__(self, text: str) -> None:
        found = _QUERY.fullmatch(text)
        if found is None:
            raise Refused(answers.flat("SYNTAX_ERROR", "error occured while parsing the query"))
        self.columns = [one.strip() for one in found["columns"].split(",")]
        self.module, self.limit = found["module"], int(found["limit"])
        self.newest_first = bool(found["order"])
        if len(self.columns) > 50 or not 0 < self.limit <= 2000:
            raise Refused(answers.flat("LIMIT_EXCEEDED", "limit exceeded"))
        if self.module not in objects.FIELDS:
            raise Refused(
                answers.flat("INVALID_MODULE", "the given module is not supported in api")
            )
        self.kinds = {one["api_name"]: one["data_type"] for one in objects.FIELDS[self.module]}
        for name in self.columns:
            self._column(name)
        self.tokens = list(self._tokens(found["where"]))
        self.where = self._condition()
        if self.tokens:
            raise self._unexpected()

    def run(self, records: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        held = sorted(records[self.module].values(), key=lambda one: int(one["id"]))
        if self.newest_first:
            held.reverse()
        found = [one for one in held if self.where(one)]
        for one in found[: self.limit]:
            yield answers.shown(one, self.columns)

    def _tokens(self, text: str) -> Iterator[str]:
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise self._unexpected(text[at : at + 20])
            yield found[1]
            at = found.end()

    def _unexpected(self, near: str = "where") -> Refused:
        return Refused(answers.flat("SYNTAX_ERROR", "unexpected token", {"near": near}))

    def _take(self, wanted: str = "") -> str:
        token = self.tokens.pop(0) if self.tokens else ""
        if wanted and token != wanted:
            raise self._unexpected(token)
        return token

    def _column(self, name: str) -> str:
        if name != "id" and name not in self.kinds:
            details = {"column_name": name}
            raise Refused(
                answers.flat("INVALID_QUERY", "column given seems to be invalid", details)
            )
        return name

    def _condition(self) -> Any:
        if self.tokens[:1] != ["("]:
            return self._comparison()
        self._take("(")
        one = self._condition()
        self._take("and")
        other = self._condition()
        self._take(")")
        return lambda record: one(record) and other(record)

    def _comparison(self) -> Any:
        name = self._column(self._take())
        if self.kinds.get(name) == "textarea":
            details = {"column_name": name}
            raise Refused(answers.flat("INVALID_QUERY", "unsupported column in criteria", details))
        match self._take():
            case "=":
                wanted = self._value()
                return lambda record: self._same(record.get(name), wanted)
            case "like":
                part = str(self._value()).casefold()
                part = part.removeprefix("%").removesuffix("%")
                return lambda record: part in str(record.get(name) or "").casefold()
            case "in":
                values = self._list()
                return lambda record: record.get(name) in values
            case "is":
                if self.tokens[:1] == ["not"]:
                    self._take("not")
                    self._take("null")
                    return lambda record: record.get(name) is not None
                self._take("null")
                return lambda record: record.get(name) is None
        raise self._unexpected()

    def _list(self) -> list[Any]:
        self._take("(")
        values = [self._value()]
        while self._take() == ",":
            values.append(self._value())
        if len(values) > 50:
            raise Refused(answers.flat("LIMIT_EXCEEDED", "limit exceeded"))
        return values

    def _value(self) -> Any:
        said = self._take()
        if said.startswith("'"):
            return said[1:-1].replace("''", "'")
        if said in ("true", "false"):
            return said == "true"
        try:
            return float(said)
        except ValueError as error:
            raise self._unexpected(said) from error

    @staticmethod
    def _same(held: Any, wanted: Any) -> bool:
        held = held["id"] if isinstance(held, dict) else held
        if isinstance(held, str) and isinstance(wanted, str) and DATETIME.fullmatch(wanted):
            return datetime.fromisoformat(held) == datetime.fromisoformat(wanted)
        if isinstance(held, str) and isinstance(wanted, str):
            return held.casefold() == wanted.casefold()
        return bool(held == wanted)
