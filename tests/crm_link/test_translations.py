"""CRM Link in German, French and Spanish: every string of it is translated, and compiled."""

from __future__ import annotations

import gettext
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from django.utils import translation
from django.utils.translation import gettext as _

import xkit_crm
from tests.conftest import need
from tests.crm_link.conftest import Visitor, text
from tests.processes import run
from xkit_crm.providers.sandbox.models import Object, Org

LANGUAGES = ("de", "fr", "es")
PACKAGE = Path(xkit_crm.__file__).parent
#: What a customer's people read; the strings of the admin may stay in English.
PLACES = (
    *("crm_link", "templates/xkit_crm/link", "templatetags", "mapping", "mappings"),
    *("panel.py", "templates/xkit_crm/panel/records.html", "templates/xkit_crm/panel/_record.html"),
    *(str(p.relative_to(PACKAGE)) for p in PACKAGE.glob("providers/*.py")),
    *(str(p.relative_to(PACKAGE)) for p in PACKAGE.glob("providers/*/provider.py")),
)

#: A string of a catalogue: its msgid, or for a plural its msgid and the number of the form.
Key = str | tuple[str, int]


def catalogue(compiled: Path) -> dict[Key, str]:
    """The strings of a compiled file; fuzzy and empty ones are never compiled."""
    with compiled.open("rb") as file:
        found: Any = gettext.GNUTranslations(file)
    return dict(found._catalog)


def committed(language: str, suffix: str) -> Path:
    return PACKAGE / "locale" / language / "LC_MESSAGES" / f"django.{suffix}"


def marks(message: str) -> list[str]:
    """The placeholders and tags of a message, in no order."""
    return sorted(re.findall(r"%\(\w+\)\w|%[%sd]|\{\w*\}|</?\w[^>]*>", message))


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[Key, str]:
    """Every string of CRM Link, as the sources have it now."""
    need(shutil.which("xgettext") is not None, "xgettext, of the package gettext")
    copy = tmp_path_factory.mktemp("sources")
    for place in PLACES:
        source, target = PACKAGE / place, copy / place
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    (copy / "locale").mkdir()
    run(sys.executable, "-m", "django", "makemessages", "-l", "en", cwd=copy)
    extracted = copy / "locale" / "en" / "LC_MESSAGES" / "django.po"
    run("msgen", "-o", "full.po", extracted, cwd=copy)
    run("msgfmt", "-o", "full.mo", "full.po", cwd=copy)
    found = catalogue(copy / "full.mo")
    found.pop("", None)
    return found


def test_the_strings_are_found_where_they_are_written(messages: dict[Key, str]) -> None:
    assert "It gets a value already." in messages  # mapping/
    assert "%(field)s is required by the CRM" in messages  # one that is English in the log
    assert "is not chosen yet" in messages  # mappings/missing.py
    assert "Do nothing" in messages  # crm_link/
    assert "Connect your CRM" in messages  # templatetags/
    assert ("%(n)s thing is left to decide.", 1) in messages  # a template's plural


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_string_is_translated(messages: dict[Key, str], language: str) -> None:
    translated = catalogue(committed(language, "mo"))
    missing = [key for key in messages if key not in translated]
    assert not missing, f"Translate these in {committed(language, 'po')}, then compilemessages."


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_translation_has_the_placeholders_of_its_original(
    messages: dict[Key, str], language: str
) -> None:
    asked = {key if isinstance(key, str) else key[0] for key in messages}
    wrong = [
        (key, translated)
        for key, translated in catalogue(committed(language, "mo")).items()
        if (original := key if isinstance(key, str) else key[0]) in asked
        and marks(translated) != marks(original)
    ]
    assert not wrong


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_plural_has_every_form_of_the_language(messages: dict[Key, str], language: str) -> None:
    translated = catalogue(committed(language, "mo"))
    (forms,) = re.findall(r"nplurals=(\d+)", committed(language, "po").read_text("utf-8"))
    plurals = {key[0] for key in messages if isinstance(key, tuple)}
    assert plurals
    assert not [
        (one, n) for one in plurals for n in range(int(forms)) if not translated.get((one, n))
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_compiled_is_what_is_written(tmp_path: Path, language: str) -> None:
    need(shutil.which("msgfmt") is not None, "msgfmt, of the package gettext")
    run("msgfmt", "--check", "-o", "new.mo", committed(language, "po"), cwd=tmp_path)
    assert catalogue(committed(language, "mo")) == catalogue(tmp_path / "new.mo")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_other_app_says_it_otherwise(messages: dict[Key, str], language: str) -> None:
    """Of one string the app that is installed first has the say, unless it has a context."""
    ours = catalogue(committed(language, "mo"))
    with translation.override(language):
        told = {
            key: translation.pgettext(*key.split("\x04")) if "\x04" in key else _(key)
            for key in messages
            if isinstance(key, str)
        }
    assert {key: text for key, text in told.items() if text != ours.get(key)} == {}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "problem"),
    [
        ("de", "Probability (%): Im CRM ein Pflichtfeld"),
        ("fr", "Probability (%)\u00a0: obligatoire dans le CRM"),
        ("es", "Probability (%): obligatorio en el CRM"),
    ],
)
def test_a_problem_is_told_in_the_language_of_the_page(
    inside: Visitor, language: str, problem: str
) -> None:
    org = Org.objects.get(slug="acme")
    field = Object.objects.get(org=org, name="Opportunity").fields.get(name="Probability")
    field.required = True
    field.save()
    with translation.override("en"):
        path = f"{inside.at}objects/opportunity/events/deal_created/"
        page = text(inside.client.get(path, headers={"accept-language": language}))
    assert f'<p class="problem">{problem}</p>' in page


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("language", "heading"),
    [
        ("de", "Was in Ihrem Sandbox CRM passiert"),
        ("fr", "Ce qui se passe dans votre Sandbox CRM"),
        ("es", "Qué ocurre en su Sandbox CRM"),
    ],
)
def test_a_page_speaks_the_language_of_the_browser(
    inside: Visitor, language: str, heading: str
) -> None:
    with translation.override("en"):  # what a request activates stays active after it
        page = text(inside.client.get(inside.at, headers={"accept-language": language}))
    assert f'<html lang="{language}">' in page
    assert heading in page
