"""OData: the columns that are selected, what a filter asks, and a request of a batch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from xkit_crm.testing.fakes.contract import Request

LEADS_TO = "@Microsoft.Dynamics.CRM.lookuplogicalname"


def inner(section: str) -> Request:
    """The request that is a part of a batch."""
    _, head, content = section.split("\r\n\r\n", 2)
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    body = json.loads(content) if content.strip() else None
    return Request(method, parts.path, query, headers, body)


def header(request: Request, name: str) -> str:
    return next((v for k, v in request.headers.items() if k.lower() == name.lower()), "")


def selected(row: Mapping[str, Any], request: Request) -> dict[str, Any]:
    names = request.query["$select"].split(",")
    return {"MetadataId": str(uuid4()), **{name: row.get(name) for name in names}}


def shown(record: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """The columns that were asked for, and where references lead where that was asked, too."""
    names = request.query["$select"].split(",")
    shown = {"@odata.etag": 'W/"1"', **{name: record.get(name) for name in names}}
    if "lookuplogicalname" in header(request, "Prefer"):
        told = {f"{name}{LEADS_TO}" for name in names if record.get(name) is not None}
        shown |= {name: record[name] for name in told if name in record}
    return shown


_CONDITION = re.compile(
    r"contains\((?P<part_of>\w+),'(?P<part>(?:[^']|'')*)'\)"
    r"|Microsoft\.Dynamics\.CRM\.ContainValues\(PropertyName='(?P<picks>\w+)',"
    r"PropertyValues=\[(?P<picked>'\d+'(?:,'\d+')*)\]\)"
    r"|(?P<name>\w+) eq (?:'(?P<text>(?:[^']|'')*)'|(?P<literal>[\w.:-]+))"
)


def conditions(said: str) -> Iterator[Callable[[Mapping[str, Any]], bool]]:
    """What a `$filter` asks of a record; a `ValueError` where it is none."""
    while said:
        found = _CONDITION.match(said)
        if found is None:
            raise ValueError(f"There is an unterminated literal in {said!r}.")
        yield _meeting(found)
        said = said[found.end() :]
        if said and not said.startswith(" and "):
            raise ValueError(f"Syntax error in {said!r}.")
        said = said.removeprefix(" and ")


def _meeting(found: re.Match[str]) -> Callable[[Mapping[str, Any]], bool]:
    if found["part_of"]:
        like = re.compile(_like(found["part"].replace("''", "'")), re.IGNORECASE | re.DOTALL)
        return lambda record: bool(like.search(str(record.get(found["part_of"]) or "")))
    if found["picks"]:
        picked = set(re.findall(r"\d+", found["picked"]))
        return lambda record: bool(picked & set(str(record.get(found["picks"]) or "").split(",")))
    if found["text"] is not None:
        text = found["text"].replace("''", "'").casefold()
        return lambda record: str(record.get(found["name"]) or "").casefold() == text
    return lambda record: json.dumps(record.get(found["name"])).strip('"') == found["literal"]


def _like(pattern: str) -> str:
    """A regular expression for a pattern of SQL."""
    pieces = re.findall(r"\[[^\]]+\]|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    return "".join(
        one.replace("\\", r"\\").replace("[[]", r"\[")
        if len(one) > 1
        else wild.get(one) or re.escape(one)
        for one in pieces
    )
