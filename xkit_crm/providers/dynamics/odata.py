"""OData 4, as Microsoft speaks it: queries, and many requests in one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from requests.structures import CaseInsensitiveDict

from xkit_crm.providers.http import Answer

GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Part:
    """One request of a batch."""

    method: str
    path: str
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def query_of(given: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items())


def quoted(text: str) -> str:
    """A text of the query language, where a quote is doubled."""
    return "'" + text.replace("'", "''") + "'"


def in_path(text: str) -> str:
    """The same in a path."""
    return quote(quoted(text), safe="'")


# -- many requests in one --------------------------------------------------------------------------


def multipart(parts: Sequence[Part], boundary: str, *, root: str) -> bytes:
    """Each request in full, in a part of its own; `root` is what their paths stand behind. Lines
    have to end with both characters."""
    lines: list[str] = []
    for part in parts:
        lines += [f"--{boundary}", "Content-Type: application/http"]
        lines += ["Content-Transfer-Encoding: binary", ""]
        lines.append(f"{part.method} {root}/{part.path} HTTP/1.1")
        lines += [f"{name}: {value}" for name, value in part.headers.items()]
        if part.body is not None:
            lines += ["Content-Type: application/json; type=entry", "", json.dumps(part.body)]
        else:
            lines += ["Accept: application/json", "", ""]
    return "\r\n".join([*lines, f"--{boundary}--", ""]).encode()


def parts_of(answer: Answer) -> list[Answer]:
    """What stands in an answer of several parts: those that are whole, in order."""
    said = re.search(r'boundary="?([^";]+)', answer.headers.get("Content-Type", ""))
    if said is None or not isinstance(answer.body, str):
        return []
    found: list[Answer] = []
    with suppress(ValueError, IndexError):  # one that is cut off, and whatever would come behind it
        for part in answer.body.split(f"--{said[1].strip()}")[1:-1]:
            found.append(_part_of(part))
    return found


def _part_of(text: str) -> Answer:
    sections = re.split(r"\r?\n\r?\n", text.lstrip(), maxsplit=2)
    status, *lines = sections[1].splitlines()
    headers = CaseInsensitiveDict(
        (name.strip(), value.strip()) for name, _, value in (one.partition(":") for one in lines)
    )
    content = sections[2].strip() if len(sections) > 2 else ""
    return Answer(int(status.split()[1]), headers, json.loads(content) if content else None)
