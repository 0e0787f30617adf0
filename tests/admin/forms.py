"""What a browser sends of a page: every box of its form, as it stands there."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from django.http import HttpResponse


class _Boxes(HTMLParser):
    """Names and values of the boxes outside of templates, in the order of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._templates = 0
        self._name = ""
        self._is_text = False
        self._is_first = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        is_given = {name for name, _ in attrs}
        if tag == "template":
            self._templates += 1
        if self._templates or (not said.get("name") and tag != "option"):
            return
        if tag == "input" and said.get("type") not in ("submit", "button", "file"):
            if said.get("type") not in ("checkbox", "radio") or "checked" in is_given:
                is_tick = said.get("type") in ("checkbox", "radio")
                self.found[said["name"]] = said.get("value", "on" if is_tick else "")
        elif tag in ("textarea", "select"):
            self._name, self._is_text = said["name"], tag == "textarea"
            self.found[self._name] = ""
            self._is_first = tag == "select"
        elif tag == "option" and self._name and (self._is_first or "selected" in is_given):
            self.found[self._name] = said.get("value", "")
            self._is_first = False

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self._templates -= 1
        if tag in ("textarea", "select"):
            self._name, self._is_text = "", False

    def handle_data(self, data: str) -> None:
        if self._is_text and not self._templates:
            self.found[self._name] += data


def sent_by(page: HttpResponse | Any, **changes: str | None) -> dict[str, str]:
    """What the page's form sends with these boxes filled in otherwise; None: it is not sent."""
    boxes = _Boxes()
    boxes.feed(page.content.decode())
    # A browser leaves out the first newline of a text area.
    found = {name: value.removeprefix("\n") for name, value in boxes.found.items()}
    found |= {name: value for name, value in changes.items() if value is not None}
    return {name: value for name, value in found.items() if changes.get(name, "") is not None}
