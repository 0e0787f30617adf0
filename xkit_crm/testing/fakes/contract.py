"""What a vendor takes: the operations of its API, as data, and what a request violates of them.

A contract is a JSON file: `operations`, each with an `id`, `method`, `path` (with `{names}`), and
where they apply `query` (a schema by parameter), `required_query`, `headers` (a pattern by name),
`body` or `form` (a JSON Schema; without one there must be no body), and `$defs` that all share.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema_rs


@dataclass(frozen=True, slots=True)
class Request:
    """What came in. `body` is JSON, or a form's fields by name, or the text of several parts
    (`multipart/`); None: there was none."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    is_form: bool = False


class Operation:
    """One operation of a contract."""

    def __init__(self, given: Mapping[str, Any], definitions: Mapping[str, Any]) -> None:
        self.given = given
        self.id: str = given["id"]
        names = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(given["path"]))
        self._path = re.compile(names)
        self._definitions = definitions

    def match(self, request: Request) -> dict[str, str] | None:
        """What stands in the path's places; None where it is another operation's path."""
        found = self._path.fullmatch(request.path)
        if found is None or request.method != self.given["method"]:
            return None
        return {name: unquote(value) for name, value in found.groupdict().items()}

    @cached_property
    def _validator(self) -> Any:
        schema: dict[str, Any] = self.given.get("body") or self.given["form"]
        return jsonschema_rs.validator_for({**schema, "$defs": self._definitions})

    def violations(self, request: Request) -> Iterator[str]:
        """What is wrong with a request of this operation."""
        yield from self._in_query(request)
        for name, pattern in self.given.get("headers", {}).items():
            said = next((v for k, v in request.headers.items() if k.lower() == name.lower()), None)
            if said is None or not re.fullmatch(pattern, said):
                yield f"header {name}: {said!r} is not {pattern}"
        wanted = "form" if "form" in self.given else "body" if "body" in self.given else None
        if wanted is None:
            if request.body is not None:
                yield "body: there must be none"
            return
        if request.is_form is not (wanted == "form"):
            yield f"body: it must be a {'form' if wanted == 'form' else 'JSON text'}"
            return
        for error in self._validator.iter_errors(request.body):
            path = "/".join(map(str, error.instance_path))
            yield f"body {path}: {error.message}"

    def _in_query(self, request: Request) -> Iterator[str]:
        known = self.given.get("query", {})
        for name, value in request.query.items():
            if name not in known:
                yield f"query {name}: there is no such parameter"
            elif not re.fullmatch(known[name], value):
                yield f"query {name}: {value!r} is not {known[name]}"
        for name in self.given.get("required_query", ()):
            if name not in request.query:
                yield f"query {name}: it is missing"


class Contract:
    """The operations of one vendor."""

    def __init__(self, path: Path) -> None:
        given = json.loads(path.read_text())
        definitions = given.get("$defs", {})
        self.operations = [Operation(one, definitions) for one in given["operations"]]

    def find(self, request: Request) -> tuple[Operation, dict[str, str]] | None:
        """The operation that a request is of, and what stands in its path's places."""
        for operation in self.operations:
            if (named := operation.match(request)) is not None:
                return operation, named
        return None
