"""The script that a product's page loads: `linkCRM()`, as a script tag and as a module.

Served from here rather than as a static file: its own address says where CRM Link is, and a page of
another origin may load it as a module.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import condition, require_GET

_FOLDER = Path(__file__).parent.parent / "static" / "xkit_crm" / "link"


@cache
def _script(name: str) -> tuple[bytes, str]:
    """The file, and what tells it from the next version."""
    text = (_FOLDER / name).read_bytes()
    return text, f'"{hashlib.sha256(text).hexdigest()[:32]}"'


@require_GET
@condition(etag_func=lambda request, name: _script(name)[1])
def script(request: HttpRequest, name: str) -> HttpResponse:
    """`crm-link.js`, for a script tag: gives the page a function `linkCRM`; or `crm-link.mjs`, for
    `import { linkCRM } from ".../crm-link.mjs"`."""
    response = HttpResponse(_script(name)[0], content_type="text/javascript; charset=utf-8")
    response["Access-Control-Allow-Origin"] = "*"
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    response["Cache-Control"] = "public, max-age=300"
    response["X-Content-Type-Options"] = "nosniff"
    return response
