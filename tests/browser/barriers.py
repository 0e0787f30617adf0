"""What keeps somebody out, as far as a machine can tell: WCAG 2.2 AA, by axe-core."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Frame, Page

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def barriers(page: Page | Frame, within: str | None = None) -> list[tuple[str, list[str]]]:
    """The rules that the page, or what is `within` it, breaks, each with the first places."""
    found = Axe().run(page, context=within, options={"runOnly": WCAG}).response["violations"]
    return [(rule["id"], [node["html"][:160] for node in rule["nodes"]][:3]) for rule in found]
