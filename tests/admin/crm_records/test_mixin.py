"""Where the mixin stands among an admin class's bases, and in which order apps are loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured

from xkit_crm.admin import CRMRecordsMixin


def test_a_mixin_in_the_wrong_place_is_refused_at_once() -> None:
    with pytest.raises(ImproperlyConfigured, match="in front of ModelAdmin"):
        type("Wrong", (admin.ModelAdmin, CRMRecordsMixin), {})


ORDERED = """
from tests.settings import *

FIRST = "example_project.documents"
INSTALLED_APPS = [FIRST, *(name for name in INSTALLED_APPS if name != FIRST)]
"""
LOADED = """
import django
django.setup()
from django.contrib import admin
from example_project.documents.models import Document
from xkit_crm.models import Invocation, RecordLink
for model in (Document, Invocation, RecordLink):
    assert model in admin.site._registry, model
from django.core.management import call_command
call_command("check")
"""


def test_a_products_admin_may_be_loaded_before_ours(tmp_path: Path) -> None:
    (tmp_path / "ordered.py").write_text(ORDERED)
    root = Path(__file__).parents[3]
    paths = os.pathsep.join([str(tmp_path), str(root)])
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "ordered", "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", LOADED], env=env, cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
