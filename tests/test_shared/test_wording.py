"""Texts for people."""

import pytest

from leakyrelu._shared.wording import count, first_line, in_one_line, listed, printable


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one line"), "one line"),
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n  one \ntwo"), "one "),
        (OSError(2, "No such file", "x"), "[Errno 2] No such file: 'x'"),
        (AssertionError(), "AssertionError"),
        (ValueError(" \n "), "ValueError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_an_exception_is_told_by_its_first_line_or_by_its_type_if_it_has_no_text(error, line):
    assert first_line(error) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("as it is", "as it is"),
        ("two\nlines", "two lines"),
        ("  a\t\r\n  b ", "a b"),
        ("", ""),
        (ValueError("a\nb"), "a b"),
    ],
)
def test_a_text_in_one_line_has_single_spaces(text, line):
    assert in_one_line(text) == line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("layer.1 «ü» 層", "layer.1 «ü» 層"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\u202egnp", r"\u202egnp"),
        ("\udc80", r"\udc80"),
        ("", ""),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text, shown):
    assert printable(text) == shown
    assert printable(text).isprintable()


def test_all_items_are_listed_without_a_limit():
    assert listed([]) == ""
    assert listed([1]) == "1"
    assert listed(range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"


def test_items_beyond_the_limit_are_left_out_and_an_ellipsis_shows_it():
    assert listed("abc", 3) == "a, b, c"
    assert listed("abcd", 3) == "a, b, c, ..."
    assert listed((number for number in (1, 2, 3)), 2) == "1, 2, ..."
    assert listed([], 2) == ""


def test_an_endless_list_is_read_one_item_further_than_it_is_shown():
    asked = []

    def endless():
        while True:
            asked.append(len(asked))
            yield asked[-1]

    assert listed(endless(), 2) == "0, 1, ..."
    assert len(asked) == 3


@pytest.mark.parametrize(("number", "text"), [(0, "0 units"), (1, "1 unit"), (2, "2 units"), (12345, "12,345 units")])
def test_a_noun_follows_its_number(number, text):
    assert count(number, "unit") == text
