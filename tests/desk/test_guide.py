"""The operator's guide and its pictures belong together."""

import re
import struct
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
GUIDE, PICTURES = DOCS / "howto" / "operators-guide.md", DOCS / "_static" / "operators"
WIDTH = 1100
LARGEST = 120_000
"""Bytes: whoever clones the repository gets them all."""

if not DOCS.exists():
    pytest.skip("the documentation is not beside the tests", allow_module_level=True)


def named():
    return re.findall(r"!\[[^]]+\]\(\.\./_static/operators/([\w-]+\.png)\)", GUIDE.read_text())


def test_each_picture_that_is_named_is_there_and_each_that_is_there_is_named_once():
    assert sorted(named()) == sorted(picture.name for picture in PICTURES.iterdir())


def test_each_picture_says_in_words_what_it_shows():
    assert len(re.findall(r"!\[[^]]{20,}\]\(", GUIDE.read_text())) == len(named()) > 0


@pytest.mark.parametrize("picture", sorted(PICTURES.glob("*.png")), ids=lambda picture: picture.stem)
def test_each_picture_is_as_wide_as_the_others_and_small(picture):
    head = picture.read_bytes()[:24]
    assert struct.unpack(">I", head[16:20]) == (WIDTH,)
    assert picture.stat().st_size < LARGEST
