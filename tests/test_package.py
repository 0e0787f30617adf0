"""The README's five steps, done as printed: with the built wheel, in a new project."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import pytest

from tests.processes import run

pytestmark = pytest.mark.package

ROOT = Path(__file__).parent.parent


def blocks(language: str) -> list[str]:
    """The code blocks of "Add it to your own project", without their indentation."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.split("## Add it to your project")[1].split("\n## ")[0]
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", section, re.DOTALL | re.MULTILINE)
    return [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in found]


def test_the_five_steps_work_in_a_new_project_with_the_built_wheel(tmp_path: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {"xkit_crm/py.typed", "xkit_crm/static/xkit_crm/admin.css"} <= packed
    assert "xkit_crm/templates/admin/xkit_crm/apikey/issued.html" in packed
    assert not [name for name in packed if name.startswith(("tests/", "example_project/"))]
    run(sys.executable, "-m", "venv", "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    run(python, "-m", "django", "startproject", "shop", cwd=tmp_path)
    project = tmp_path / "shop"
    apps, urls, binding, shell = blocks("python")
    (objects,) = blocks("json")
    with (project / "shop" / "settings.py").open("a") as settings:
        settings.write(apps)
        settings.write('INSTALLED_APPS += ["shop"]\n')
    with (project / "shop" / "urls.py").open("a") as urlconf:
        urlconf.write(urls)
    (project / "crm_objects.json").write_text(objects)
    (project / "shop" / "crm.py").write_text(binding)
    manage = project / "manage.py"
    for _ in range(2):  # the second time with the tables there, and nothing loaded yet
        run(python, manage, "migrate", "-v", "0", cwd=project)
    assert "+ contact.user_joined" in run(
        python, manage, "xkit_load", "crm_objects.json", cwd=project
    )
    run(python, manage, "check", "--fail-level", "WARNING", cwd=project)
    answer = run(python, manage, "shell", "--no-imports", cwd=project, stdin=shell)
    assert "Contact:00001" in answer
    run(python, manage, "makemigrations", "--check", "--dry-run", cwd=project)
    for app in ("xkit_sandbox", "xkit_crm"):
        assert "Unapplying" in run(python, manage, "migrate", app, "zero", cwd=project)
