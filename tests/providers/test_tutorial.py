"""The files of `docs/adding-a-crm.md`, as they stand there, in a project of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "adding-a-crm.md"
#: A block is a file where the line before it is the file's name.
FILES = dict(
    re.findall(r"^`(crm/[\w.]+)`:\n\n```\w+\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
)


def test_it_is_short_enough_to_be_written_in_a_day() -> None:
    assert len(FILES["crm/rolodex.py"].splitlines()) < 150


def test_what_the_page_shows_runs_and_passes(tmp_path: Path) -> None:
    (tmp_path / "crm").mkdir()
    for name, text in {"crm/__init__.py": "", **FILES}.items():
        (tmp_path / name).write_text(text)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "-W", "error", "-p", "no:cacheprovider", "crm"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
    assert "can't be told to misbehave" not in ran.stdout
