"""What keeps somebody out, as far as a machine can tell: WCAG 2.2 AA, by axe-core."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Frame, Page

_ALL = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
#: What is looked for: all of it in the light, and in the dark what differs there.
_RULES = {
    "light": {"type": "tag", "values": _ALL},
    "dark": {"type": "rule", "values": ["color-contrast"]},
}
#: Only what is broken is told, with its places. What takes sound or style sheets to be loaded once
#: more is not: no page has any sound.
_OPTIONS = {"resultTypes": ["violations"], "preload": False}
#: Colours that fade into others do so at once.
_SETTLED = """() => new Promise(requestAnimationFrame).then(() => document.getAnimations().filter(
    one => one instanceof CSSTransition).forEach(one => one.finish()))"""


def barriers(page: Page | Frame, within: str | None = None) -> list[tuple[str, str, list[str]]]:
    """The rules that the page, or what is `within` it, breaks in the light and in the dark, each
    with the first places."""
    told = []
    for scheme, rules in _RULES.items():
        whole = page if isinstance(page, Page) else page.page
        whole.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.evaluate(_SETTLED)
        options = {"runOnly": rules, **_OPTIONS}
        found = Axe().run(page, context=within, options=options).response["violations"]
        told += [
            (scheme, rule["id"], [node["html"][:160] for node in rule["nodes"]][:3])
            for rule in found
        ]
    return told
