"""The German catalogue is complete, says the same things about the same places, and is compiled."""

import ast
import gettext
import re
from pathlib import Path

import pytest
from django.utils.translation import gettext as translated
from django.utils.translation import override
from django.utils.translation.template import templatize

import django_idempotency

PACKAGE = Path(django_idempotency.__file__).parent
CATALOGUE = PACKAGE / "locale" / "de" / "LC_MESSAGES"
TEMPLATES = sorted((PACKAGE / "templates").rglob("*.html"))
CALLS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy", "pgettext", "_n"}
ENTRY = re.compile(
    r'^msgid (?P<id>".*"(?:\n".*")*)\n(?:msgid_plural (?P<plural>".*"(?:\n".*")*)\n)?'
    r'(?P<texts>(?:msgstr(?:\[\d\])? ".*"(?:\n".*")*\n?)+)',
    re.MULTILINE,
)
PLACE = re.compile(r"%\((\w+)\)[sd]|\{(\w*)\}|%([sd])")
BLOCKS = re.compile(
    r"{% block (?:bodyclass|kind) %}.*?{% endblock %}"
    r"|{%\s*blocktranslate\b.*?{%\s*endblocktranslate\s*%}|{%.*?%}|{{.*?}}|{#.*?#}",
    re.DOTALL,
)
ELEMENTS = re.compile(r"<[^>]*>|&\w+;")
# The same in every language.
NAMES = {"CSV", "JSON"}


def catalogue():
    """The messages and their translations: by the first text, all of them."""
    found = {}
    for entry in ENTRY.finditer((CATALOGUE / "django.po").read_text()):
        texts = re.findall(r'^msgstr(?:\[\d\])? (".*"(?:\n".*")*)', entry["texts"], re.MULTILINE)
        ids = [joined(entry[name]) for name in ("id", "plural") if entry[name]]
        found[ids[0]] = (ids, [joined(text) for text in texts])
    found.pop("", None)
    return found


def joined(quoted):
    return "".join(ast.literal_eval(line) for line in quoted.splitlines())


def in_python():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in CALLS and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value


def in_templates():
    for path in TEMPLATES:
        for call in re.finditer(r"gettext\(u?(['\"].*?(?<!\\)['\"])\s*[,)]", templatize(path.read_text()), re.DOTALL):
            yield ast.literal_eval(call[1])


def test_every_text_has_a_german_translation():
    known = catalogue()
    wanted = {*in_python(), *in_templates()} - {""}
    assert len(wanted) > 100
    assert sorted(wanted - known.keys()) == []
    assert [ids for ids, texts in known.values() if not all(texts)] == []


def test_no_translation_is_of_a_text_that_is_gone():
    assert sorted(catalogue().keys() - {*in_python(), *in_templates()}) == []


def test_translations_say_the_same_things_of_the_same_places():
    def places(text):
        return {"".join(found) for found in PLACE.findall(text)}

    wrong = [
        text for ids, texts in catalogue().values() for text in texts if not places(text) <= places(" ".join(ids))
    ] + [ids for ids, texts in catalogue().values() if places(ids[-1]) - places(texts[-1])]
    assert wrong == []


def test_the_compiled_catalogue_is_that_of_the_source():
    with (CATALOGUE / "django.mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for ids, texts in catalogue().values():
        if len(ids) == 1:
            assert compiled.gettext(ids[0]) == texts[0]
        else:
            assert [compiled.ngettext(*ids, number) for number in (1, 2)] == texts


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_text_of_a_template_stands_outside_of_the_catalogue(path):
    rest = re.findall(r"[A-Za-z]{2,}", ELEMENTS.sub(" ", BLOCKS.sub(" ", path.read_text())))
    assert set(rest) <= NAMES


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_holds_a_script_or_a_style_of_its_own(path):
    text = path.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:|https?://(?!api\.example)", text)


def test_a_page_speaks_german():
    with override("de"):
        assert translated("tombstone") == "nur Schlüssel"
