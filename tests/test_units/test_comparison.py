"""A diagnosis that is read back, and two diagnoses compared."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from commands import fails, invoke, run
from hypothesis import given
from hypothesis import strategies as st

from leakyrelu.units import Diagnosis, Site, compare
from leakyrelu.units.json import failure_as_json

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "diagnosis.schema.json").read_text("utf-8"))
FIELDS = ("name", "operation", "examples", "values", "fired", "below", "maximum", "mean_output", "flat")

numbers = st.floats(width=64)
counts = st.integers(1, 2**53)


@st.composite
def sites(draw):
    units, values = draw(st.integers(0, 5)), draw(counts)

    def array(of, dtype):
        return np.array(draw(st.lists(of, min_size=units, max_size=units)), dtype)

    return Site(
        name=draw(st.text()),
        operation=draw(st.text()),
        examples=draw(counts),
        values=values,
        fired=array(st.integers(0, values), np.int64),
        below=array(st.booleans(), bool),
        maximum=draw(st.booleans()) and array(numbers, float) if draw(st.booleans()) else None,
        mean_output=array(numbers, float),
        flat=draw(st.booleans()),
    )


def of(fired, *, name="relu", nan=(), values=100):
    fired = np.array(fired, np.int64)
    maximum = np.where(fired, 1.0, -1.0)
    maximum[list(nan)] = np.nan
    return Site(name, "relu", values, values, fired, fired < values, maximum, fired / values, flat=True)


def diagnosis(*sites):
    return Diagnosis(sites, 100)


@given(st.lists(sites().filter(lambda site: site.maximum is not False), max_size=3), counts, st.lists(st.text()))
def test_what_is_read_back_is_what_was_written(parts, examples, notes):
    before = Diagnosis(parts, examples, notes)
    written = json.dumps(before.to_dict(), allow_nan=False)
    jsonschema.validate(json.loads(written), SCHEMA)
    after = Diagnosis.from_dict(json.loads(written))
    assert (after.examples, list(after.notes)) == (examples, notes)
    for one, other in zip(before.sites, after.sites, strict=True):
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field), strict=field != "maximum")
    assert json.dumps(after.to_dict()) == written


def test_the_schema_is_one_and_refuses_what_is_none():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    good = diagnosis(of([0, 5])).to_dict()
    jsonschema.validate(good, SCHEMA)
    jsonschema.validate(json.loads(failure_as_json("the model failed")), SCHEMA)
    jsonschema.validate(diagnosis(of([0], nan=[0])).to_dict(), SCHEMA)
    for wrong in (
        {**good, "format": 1},
        {**good, "dead_fraction": "NaN"},
        {**good, "surplus": 1},
        {**good, "sites": [{**good["sites"][0], "fired": [-1, 5]}]},
        {**good, "sites": [{**good["sites"][0], "maximum": ["inf", 1]}]},
        {key: value for key, value in good.items() if key != "judged"},
        {"format": 2},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: [], "no diagnosis"),
        (lambda data: {}, "no diagnosis"),
        (lambda data: data | {"format": 1}, "has the format 1, and this version of leakyrelu reads 2"),
        (lambda data: data | {"format": None}, "has the format None"),
        (lambda data: {"format": 2, "error": "no model"}, "no diagnosis could be made: no model"),
        (lambda data: {"format": 2, "examples": 1, "notes": []}, "lacks 'sites'"),
        (lambda data: data | {"sites": 3}, "something else than numbers"),
        (lambda data: data | {"sites": [3]}, "something else than numbers"),
        (lambda data: data | {"sites": [data["sites"][0] | {"below": [True]}]}, "one entry per unit"),
        (lambda data: data | {"sites": [data["sites"][0] | {"fired": [[0], [1]]}]}, "one entry per unit"),
        (lambda data: data | {"sites": [data["sites"][0] | {"fired": [0, 101]}]}, "more than all of the values"),
        (lambda data: data | {"sites": [data["sites"][0] | {"examples": 0}]}, "at least one example"),
        (lambda data: data | {"sites": [data["sites"][0] | {"mean_output": ["nan", 0]}]}, "lacks 'nan'"),
    ],
)
def test_what_is_no_diagnosis_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Diagnosis.from_dict(change(diagnosis(of([0, 5])).to_dict()))


def test_sites_with_more_dead_units_got_worse_and_the_others_did_not():
    before = diagnosis(of([0, 5], name="a"), of([0, 5], name="b"), of([5, 5], name="c"), of([1], name="gone"))
    after = diagnosis(of([0, 0], name="a"), of([5, 5], name="b"), of([5, 0], name="c", nan=[0]), of([1], name="new"))
    comparison = compare(before, after)
    assert [(one.name, other.name) for one, other in comparison.worse] == [("a", "a"), ("c", "c")]
    text = str(comparison)
    assert "No longer seen: gone." in text
    assert "Not seen before: new." in text
    assert "Dead before: 2 of 7 units (28.6%). Dead after: 3 of 7 units (42.9%), 1 with NaN." in text
    assert str(compare(before, before)).startswith("No site got worse.")


def test_where_units_were_removed_fractions_are_compared():
    assert not compare(diagnosis(of([0, 0, 5, 5])), diagnosis(of([0, 5, 5]))).worse
    assert compare(diagnosis(of([0, 5, 5, 5])), diagnosis(of([0, 5]))).worse


@pytest.mark.parametrize(
    ("before", "after", "tolerance", "grew"),
    [
        ([0, 5], [0, 5], 0, False),
        ([0, 5], [0, 0], 0, True),
        ([0, 5], [0, 0], 0.5, False),
        ([0] * 3 + [5] * 7, [0] * 4 + [5] * 6, 0.1, False),  # 0.4 - 0.3 is more than 0.1 in floating point
        ([0] * 3 + [5] * 7, [0] * 4 + [5] * 6, 0.0999, True),
        ([0, 5], [5, 5], 0, False),
        ([], [0], 0, None),
        ([5], [], 0, None),
    ],
)
def test_the_dead_fraction_grew_by_more_than_the_tolerance(before, after, tolerance, grew):
    assert compare(diagnosis(of(before)), diagnosis(of(after))).grew(tolerance) is grew


@pytest.mark.parametrize(
    ("before_nan", "after_nan", "tolerance", "grew"),
    [((), (1,), 0, None), ((), (1,), 0.5, False), ((1,), (), 0, False), ((), (0, 1), 0, None), ((0, 1), (), 0, None)],
)
def test_units_that_were_not_judged_leave_it_open(before_nan, after_nan, tolerance, grew):
    before, after = (diagnosis(of([5, 5], nan=nan)) for nan in (before_nan, after_nan))
    assert compare(before, after).grew(tolerance) is grew


def test_the_command_says_which_sites_got_worse(tmp_path):
    diagnosis(of([0, 5], name="one"), of([5], name="two")).to_json(tmp_path / "before.json")
    diagnosis(of([0, 0], name="one"), of([5], name="two")).to_json(tmp_path / "after.json")
    diagnosis(of([5, 5], name="one", nan=[0])).to_json(tmp_path / "nan.json")
    result = invoke("compare", "before.json", "after.json", cwd=tmp_path)
    assert result.exit_code == 1
    assert "one" in result.stdout.splitlines()[2]
    assert result.stderr == "leakyrelu: the dead fraction grew by more than 0\n"
    assert "No site got worse" in run("compare", "after.json", "before.json", cwd=tmp_path)
    run("compare", "before.json", "after.json", "--tolerance", "0.5", cwd=tmp_path)
    assert "too few units were judged" in fails("compare", "before.json", "nan.json", cwd=tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff", b"3", b"null", b"NaN", b'{"format": 2}'])
def test_a_file_that_holds_no_diagnosis_is_named(tmp_path, content):
    diagnosis(of([0])).to_json(tmp_path / "good.json")
    (tmp_path / "bad.json").write_bytes(content)
    for files in (("good.json", "bad.json"), ("bad.json", "good.json")):
        assert "bad.json holds no diagnosis" in fails("compare", *files, cwd=tmp_path)


def test_a_report_of_a_run_that_failed_says_why(tmp_path):
    (tmp_path / "bad.json").write_text(failure_as_json("the model called sys.exit(0)"))
    assert "the model called sys.exit(0)" in fails("compare", "bad.json", "bad.json", cwd=tmp_path)


@pytest.mark.parametrize("tolerance", ["-0.1", "1.5", "nan", "inf"])
def test_the_tolerance_is_a_fraction(tmp_path, tolerance):
    assert "--tolerance must be a fraction" in fails("compare", "a", "b", "--tolerance", tolerance, cwd=tmp_path)
