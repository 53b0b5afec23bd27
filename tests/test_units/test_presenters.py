"""A diagnosis as text, JSON, HTML and a picture."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from leakyrelu import units
from leakyrelu._shared import tables
from leakyrelu.units import Diagnosis, Site, html, picture
from leakyrelu.units import json as json_of
from leakyrelu.units import text as text_of

NAN = float("nan")


def site(fired, *, name="relu", flat=True, nan=(), values=1297, examples=1297):
    """A site whose units fire on so many of the values; those in `nan` had a NaN."""
    fired = np.array(fired, np.int64)
    maximum, mean_output = np.where(fired, 1.0, -1.0), fired / values
    for array in (maximum, mean_output):
        array[list(nan)] = NAN
    operation = "relu" if flat else "leaky_relu"
    return Site(name, operation, examples, values, fired, fired < values, maximum, mean_output, flat)


def diagnosis(*sites, examples=1297, notes=()):
    return Diagnosis(sites, examples, notes)


def page_of(diagnosis):
    return html.as_html(diagnosis.sites, diagnosis.notes)


MIXED = diagnosis(
    site([0, 0, 0, 5, 600, 1297], name="first"),
    site([0, 500, 700], name="second", flat=False),
    site([9, 0, 600], name="third", nan=[0]),
    notes=("fourth was never called.",),
)


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    VOID = ("meta", "link", "br", "!doctype", "path")

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def rows(text):
    """The cells of a table, by the first cell of their row and the heading of their column."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    headings, _, *others = lines
    return {cells[0]: dict(zip(headings, cells, strict=True)) for cells in others}


def test_the_text_has_a_row_per_site():
    table = rows(str(MIXED))
    assert list(table) == ["first", "second", "third"]
    assert table["first"] == {
        "Site": "first",
        "Operation": "relu",
        "Units": "6",
        "Values per unit": "1,297",
        "Dead": "3",
        "One-sided": "0",
        "Rare": "1",
        "Always on": "1",
        "Dormant": "4",
        "NaN": "0",
        "Median firing rate": "0.19 %",
    }
    assert [table["second"][word] for word in ("Operation", "Dead", "One-sided")] == ["leaky_relu", "0", "1"]
    assert [table["third"][word] for word in ("Dead", "NaN", "Median firing rate")] == ["1", "1", "23.1 %"]


def test_the_text_says_how_many_are_dead_and_how_sure_that_is():
    assert (
        "4 of 12 units (33.3 %) are dead: they fire on none of 1,297 examples; with 95 % confidence each fires on less than "
        "0.23 % of all examples (3/N)." in str(MIXED)
    )


def test_one_dead_unit_is_spoken_of_in_the_singular():
    assert "1 of 2 units (50.0 %) is dead: it fires on none of 1,297 examples; with 95 % confidence it fires on" in str(
        diagnosis(site([0, 9]))
    )


def test_units_that_are_not_dead_are_not_called_so():
    text = str(diagnosis(site([100, 9]), site([0], flat=False)))
    assert "None of 3 units is dead, on 1,297 examples." in text
    assert "One-sided, not dead: 1 unit," in text


@pytest.mark.parametrize("say", [str, page_of])
def test_units_with_nan_are_named(say):
    text = say(diagnosis(site([9] * 9, nan=[0, 4, 5, 6, 8], name="fc")))
    assert "None of 4 units without NaN is dead" in text
    assert "NaN in fc, 5 of 9 units, not judged: 0, 4-6, 8." in text


@pytest.mark.parametrize("say", [str, page_of])
def test_if_all_units_have_nan_none_is_called_alive(say):
    text = say(diagnosis(site([0, 5], nan=[0, 1])))
    assert "Nothing can be said: 2 of 2 units had a NaN." in text
    assert "None of" not in text.replace("None of this promises", "")


@pytest.mark.parametrize("say", [str, page_of])
def test_if_no_activation_was_seen_the_verdict_says_so(say):
    text = say(diagnosis(notes=("No call of an activation.",)))
    assert "No activation was seen" in text
    assert "No call of an activation." in text


def test_a_layer_of_dead_units_alone_is_named():
    text = str(diagnosis(site([0, 0], name="fc1"), site([0, 9], name="fc2"), site([0], name="fc3")))
    assert "All units are dead in fc1, fc3:" in text


def test_few_examples_are_called_few():
    few = str(diagnosis(site([0, 9], values=64, examples=64), examples=64))
    assert "less than 4.7 % of all examples" in few
    assert "On only 64 examples, a unit that fires on 1 % of all examples looks dead 52.6 % of the time" in few
    for enough in (site([0], examples=300), site([9], examples=64)):  # more examples kill no unit that has fired
        assert "On only" not in str(diagnosis(enough))


def test_three_examples_bound_nothing():
    assert "confidence" not in str(diagnosis(site([0], values=3, examples=3)))


def test_the_bound_is_of_the_dead_units_with_the_fewest_examples():
    text = str(diagnosis(site([0], examples=1000), site([0], examples=500), site([9], examples=10)))
    assert "on none of 500 examples" in text
    assert "less than 0.6 % of all examples" in text


def test_columns_that_no_unit_needs_are_left_out():
    assert {"NaN", "One-sided"}.isdisjoint(rows(str(diagnosis(site([1, 2]))))["relu"])


def test_no_name_is_cut(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    name = "encoder." * 60 + "relu"
    text = str(diagnosis(site([1], name=name)))
    assert name in text
    assert "…" not in text


@pytest.mark.parametrize("missing", [False, True])
def test_the_table_is_plain_and_with_rich_aligned(missing, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    if missing:
        for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "rich", None)
    text = str(diagnosis(site([1], name="[red]:smile:[/red]"), site([0] * 2000, name="b")))
    assert text.isascii()
    assert all(line.isprintable() for line in text.splitlines())
    assert "[red]:smile:[/red]" in text
    table = text.partition("\n\n")[0].splitlines()
    assert missing or len({len(line) for line in table}) == 1
    assert len(table) == 4
    assert table[3].startswith("| b ")
    assert "| 2,000 |" in table[3]


def test_wide_characters_are_aligned_as_a_terminal_shows_them():
    cells = pytest.importorskip("rich.cells")
    table = str(diagnosis(site([1], name="層"), site([1], name="layer"))).partition("\n\n")[0]
    assert len({cells.cell_len(line) for line in table.splitlines()}) == 1


@pytest.mark.parametrize("say", [str, page_of])
def test_a_name_cannot_move_the_cursor_or_break_the_line(say):
    text = say(diagnosis(site([1], name="a\x1b[31m\nb\udc80\u202e"), notes=("one\rtwo",)))
    for character in "\x1b\r\udc80\u202e":
        assert character not in text
    assert r"a\x1b[31m\nb\udc80\u202e" in text
    assert r"one\rtwo" in text


def test_a_model_that_is_itself_the_activation_has_a_name():
    assert "(model)" in rows(str(diagnosis(site([1], name=""))))


def test_the_dictionary_has_everything():
    result = MIXED.to_dict()
    assert {key: value for key, value in result.items() if key != "sites"} == {
        "format": 2,
        "examples": 1297,
        "units": 12,
        "judged": 11,
        "dead": 4,
        "dead_fraction": 4 / 12,
        "bound": 3 / 1297,
        "notes": ["fourth was never called."],
    }
    first, second, third = result["sites"]
    assert first == {
        "name": "first",
        "operation": "relu",
        "flat": True,
        "examples": 1297,
        "values": 1297,
        "units": 6,
        "bound": 3 / 1297,
        "firing_rate": [0, 0, 0, 5 / 1297, 600 / 1297, 1],
        "fired": [0, 0, 0, 5, 600, 1297],
        "below": [True, True, True, True, True, False],
        "maximum": [-1, -1, -1, 1, 1, 1],
        "mean_output": [0, 0, 0, 5 / 1297, 600 / 1297, 1],
        "dead": [0, 1, 2],
        "one_sided": [],
        "rare": [3],
        "always_on": [5],
        "dormant": [0, 1, 2, 3],
        "nan": [],
    }
    assert (second["flat"], second["one_sided"], second["dead"]) == (False, [0], [])
    assert (third["nan"], third["dead"], third["rare"]) == ([0], [1], [])
    assert third["firing_rate"] == [None, 0, 600 / 1297]
    assert third["maximum"][0] == third["mean_output"][0] == "NaN"
    assert MIXED.to_dict() == result


def test_json_is_strict_and_says_what_the_dictionary_says(tmp_path):
    infinite = site([5, 5])
    infinite.maximum[0] = np.inf
    odd = diagnosis(infinite, *MIXED.sites, notes=["naïve \udc80"])
    path = tmp_path / "units.json"
    odd.to_json(path)

    def refuse(constant):
        raise AssertionError(constant)

    read = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert read == odd.to_dict()
    assert read["sites"][0]["maximum"] == ["Infinity", 1]


def test_html_is_written_as_it_is_made(tmp_path):
    path = tmp_path / "units.html"
    MIXED.to_html(str(path))
    assert path.read_text("utf-8") == page_of(MIXED)


@pytest.mark.parametrize("write", [Diagnosis.to_json, Diagnosis.to_html])
def test_a_file_is_written_whole_or_not_at_all(write, tmp_path, monkeypatch):
    path = tmp_path / "units"
    path.write_text("as it was")

    def full(file):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(MIXED, path)
    assert [file.name for file in tmp_path.iterdir()] == ["units"]
    assert path.read_text() == "as it was"


def test_the_page_needs_nothing_but_itself():
    text = page_of(MIXED)
    page = Page(text)
    names = {name for name, _ in page.tags}
    assert names.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base", "form"})
    attributes = {key for _, found in page.tags for key in found}
    assert attributes.isdisjoint({"src", "href", "srcset", "action"})
    assert not [key for key in attributes if key.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", text)
    assert {
        "http-equiv": "Content-Security-Policy",
        "content": "default-src 'none'; style-src 'unsafe-inline'",
    } in page.all("meta")


def test_the_page_says_what_it_is_to_every_reader():
    page = Page(page_of(MIXED))
    assert not page.open  # each element is closed
    assert page.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert [len(page.all(tag)) for tag in ("title", "main", "h1", "table", "caption")] == [1] * 5
    assert {found["scope"] for found in page.all("th")} == {"row", "col"}
    assert [found["aria-label"] for found in page.all("div") if found.get("role") == "img"] == [
        "first: relu, 6 units: 3 dead, 1 rare, 1 firing, 1 always on",
        "second: leaky_relu, 3 units: 1 one-sided, 2 firing",
        "third: relu, 3 units: 1 dead, 1 firing, 1 with NaN",
    ]
    assert all(found["aria-hidden"] == "true" for found in page.all("svg"))
    for text in (
        "4 of 12 units (33.3 %) are dead",
        "fourth was never called.",
        "Dead: 0-2",
        "A few dead units are normal",
    ):
        assert text in page.text


def test_names_on_the_page_are_text():
    name, note = '<script>alert("1")</script>', "<b>&amp;"
    page = Page(page_of(diagnosis(site([0], name=name), notes=(note,))))
    assert not page.all("script")
    assert not page.all("b")
    assert name in page.text
    assert note in page.text
    assert any(found.get("aria-label", "").startswith(name) for found in page.all("div"))


def test_a_strip_has_a_column_per_unit_and_the_dead_are_hatched():
    page = Page(page_of(diagnosis(site([0, 0, 300, 600, 900]))))
    (hatched,) = [found for found in page.all("span") if found["class"] == "dead cells"]
    assert hatched["style"] == "--n:2"
    assert "repeating-linear-gradient" in page.text.split(".dead {")[1].split("}")[0]
    (svg,) = page.all("svg")
    assert svg["viewbox"] == "0 0 3 100"
    (path,) = page.all("path")
    heights = [100 - int(top) for top in re.findall(r"V(\d+)H", path["d"])]
    assert heights == [23, 46, 69]


def test_a_wide_layer_costs_little_and_loses_no_dead_unit():
    rates = np.random.default_rng(0).integers(1, 1297, 4096)
    rates[77] = 0
    text = page_of(diagnosis(site(rates)))
    assert len(text) < 20_000
    page = Page(text)
    assert "Dead: 77" in page.text
    assert any(found["class"] == "dead" for found in page.all("span"))


def test_long_lists_are_cut_and_say_so():
    text = str(diagnosis(site([5] * 1000, nan=range(0, 1000, 2))))
    assert "196, 198 and 400 more." in text


def luminance(color):
    parts = [int(color[i] * 2 if len(color) == 3 else color[2 * i : 2 * i + 2], 16) / 255 for i in range(3)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


def contrast(one, other):
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_and_marks_stand_out_from_the_page(scheme):
    colors = dict(re.findall(r"--(\w+): #(\w+);", page_of(MIXED).split(":root {")[1 + scheme].split("}")[0]))
    for text in ("ink", "soft"):
        assert contrast(colors[text], colors["page"]) >= 4.5
    for mark in ("red", "amber", "blue", "teal"):
        assert contrast(colors[mark], colors["strip"]) >= 3
        assert contrast(colors[mark], colors["page"]) >= 3


def bars(figure):
    """Left edge, width and hatch of each."""
    patches = [patch for container in figure.axes[0].containers for patch in container]
    return {(round(patch.get_x()), round(patch.get_width()), patch.get_hatch()) for patch in patches}


def test_the_picture_has_a_strip_per_site(tmp_path):
    figure = MIXED.plot()
    assert isinstance(figure, Figure)
    ax = figure.axes[0]
    assert ax.get_title() == "4 of 12 units dead, 1 with NaN"
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "first\n3 of 6 dead",
        "second\n0 of 3 dead",
        "third\n1 of 3 dead",
    ]
    assert bars(figure) == {(0, 50, "////"), (0, 33, "---"), (0, 33, "////"), (67, 33, "xxxx")}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Dead", "One-sided", "NaN"]
    np.testing.assert_allclose(
        np.concatenate([image.get_array()[0] for image in ax.images]),
        100 * np.array([5, 600, 1297, 500, 700, 600]) / 1297,
    )
    figure.savefig(tmp_path / "units.png")


@pytest.mark.parametrize("sites", [(), (site([5, 9], name="$\\frac$"),), (site([], name="empty"),)])
def test_a_picture_of_no_sites_or_no_dead_units_is_drawn_as_well(sites, tmp_path):
    figure = diagnosis(*sites).plot()
    assert not figure.legends
    figure.savefig(tmp_path / "units.png")


def test_the_picture_leaves_pyplot_alone():
    code = (
        "import sys; from leakyrelu.units import Diagnosis; Diagnosis((), 0).plot();"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_matplotlib_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'leakyrelu\[plot\]'"):
        MIXED.plot()


def test_the_report_loads_no_optional_library():
    code = "import sys, leakyrelu.units; assert not {'matplotlib', 'rich', 'torch'}.intersection(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_printing_a_diagnosis_prints_the_text():
    assert str(MIXED) == text_of.as_text(MIXED.sites, MIXED.notes)


def test_all_lists_the_public_names():
    assert sorted(units.__all__) == ["Comparison", "DORMANT", "Diagnosis", "RARE", "Site", "compare", "merge"]
    assert {
        module.__name__.rpartition(".")[2]: sorted(module.__all__) for module in (json_of, html, picture, tables)
    } == {
        "json": ["FORMAT", "Parts", "as_dict", "as_json", "failure_as_json", "from_dict"],
        "html": ["as_html"],
        "picture": ["draw"],
        "tables": ["text_table"],
    }
    assert "as_text" in text_of.__all__
    for module in (units, text_of, json_of, html, picture, tables):
        assert all(hasattr(module, name) for name in module.__all__)
