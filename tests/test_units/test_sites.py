"""The rules that decide which units are dead, rare, dormant and so on, on counts that a reader can check by eye."""

from dataclasses import replace

import numpy as np
import pytest

from leakyrelu.units import DORMANT, RARE, Diagnosis, Site, merge

NAN = float("nan")


def site(fired, *, minimum=-1.0, maximum=1.0, mean_output=1.0, flat=True, values=1000, examples=None, name="relu"):
    units = len(fired)
    return Site(
        name=name,
        operation="relu" if flat else "leaky_relu",
        examples=values if examples is None else examples,
        values=values,
        fired=np.array(fired),
        below=np.broadcast_to(np.array(minimum, np.float64) < 0, units),
        maximum=np.broadcast_to(np.array(maximum, np.float64), units),
        mean_output=np.broadcast_to(np.array(mean_output, np.float64), units),
        flat=flat,
    )


def test_a_unit_that_never_fires_is_dead_where_the_activation_is_flat():
    never = site([0, 1, 0], maximum=[-0.1, 1, 0])
    assert never.dead.tolist() == [0, 2]
    assert never.one_sided.tolist() == []


def test_a_unit_that_never_fires_is_one_sided_where_the_activation_is_not_flat():
    never = site([0, 1, 0], maximum=[-0.1, 1, 0], flat=False)
    assert never.dead.tolist() == []
    assert never.one_sided.tolist() == [0, 2]


def test_a_unit_that_fires_in_less_than_a_hundredth_but_at_least_once_is_rare():
    assert RARE == 0.01
    assert site([0, 1, 9, 10, 1000]).rare.tolist() == [1, 2]


def test_a_unit_never_below_zero_is_always_on_unless_it_never_fires():
    assert site([1000, 500, 999, 0], minimum=[0.1, 0, -0.1, 0], maximum=[1, 1, 1, 0]).always_on.tolist() == [0, 1]


def test_a_unit_whose_output_is_small_beside_the_others_is_dormant():
    assert DORMANT == 0.025
    # The mean is 1, so the limit is 0.025 itself.
    assert site([5] * 4, mean_output=[0.025, 0.026, 0, 3.949]).dormant.tolist() == [0, 2]


def test_all_units_are_dormant_where_none_has_an_output():
    assert site([0, 0], mean_output=0.0).dormant.tolist() == [0, 1]


@pytest.mark.parametrize("flat", [True, False])
def test_a_unit_with_nan_is_in_no_other_list(flat):
    one = site([0, 5, 5], minimum=[NAN, 1, -1], maximum=[NAN, 1, 1], mean_output=[NAN, 1, 1], flat=flat)
    assert one.nan.tolist() == [0]
    for words in (one.dead, one.one_sided, one.rare, one.dormant, one.always_on):
        assert 0 not in words
    assert one.rare.tolist() == [1, 2]
    assert one.always_on.tolist() == [1]


def test_nan_in_one_unit_leaves_the_mean_of_the_others():
    one = site([5, 5, 5], maximum=[NAN, 1, 1], mean_output=[NAN, 0.01, 1])
    assert one.dormant.tolist() == [1]


def test_a_unit_with_nan_is_not_dormant_even_without_output():
    assert site([0, 5], maximum=[NAN, 1], mean_output=[0, 1]).dormant.tolist() == []


def test_a_site_of_nan_alone_has_no_dormant_units():
    assert site([0, 0], maximum=NAN, mean_output=NAN).dormant.tolist() == []


def test_the_firing_rate_is_per_value_and_the_bound_per_example():
    one = site([0, 100, 200], values=400, examples=100)
    assert one.firing_rate.tolist() == [0, 0.25, 0.5]
    assert one.bound == 0.03


@pytest.mark.parametrize(("examples", "bound"), [(1, 1), (3, 1), (4, 0.75), (1297, 3 / 1297)])
def test_the_bound_is_three_in_n_and_never_more_than_all(examples, bound):
    assert site([0], examples=examples).bound == bound


def test_the_bound_is_right_nineteen_times_in_twenty():
    # A unit at the bound is missed by N examples with a probability of (1 - 3/N)^N, at most e^-3 < 0.05.
    for examples in (4, 10, 100, 10_000):
        assert (1 - site([0], examples=examples).bound) ** examples < 0.05


def test_a_diagnosis_sums_over_its_sites():
    diagnosis = Diagnosis((site([0, 1, 0]), site([0, 9], flat=False), site([0, 5, 5])), 1000)
    assert (diagnosis.units, diagnosis.dead, diagnosis.dead_fraction) == (8, 3, 3 / 8)


def test_a_diagnosis_without_units_has_no_dead_ones():
    assert np.isnan(Diagnosis((), 10).dead_fraction)


def test_merged_parts_are_as_one_pass_over_all_the_data():
    values = np.random.default_rng(0).standard_normal((30, 4, 5)) - np.array([0, 9, 1, -9])[:, np.newaxis]

    def seen(x):
        return Site(
            name="relu",
            operation="relu",
            examples=len(x),
            values=len(x) * 5,
            fired=(x > 0).sum((0, 2)),
            below=(x < 0).any((0, 2)),
            maximum=x.max((0, 2)),
            mean_output=np.maximum(x, 0).mean((0, 2)),
            flat=True,
        )

    merged = merge(Diagnosis((seen(part),), len(part)) for part in (values[:7], values[7:9], values[9:]))
    whole = seen(values)
    (one,) = merged.sites
    assert merged.examples == 30
    assert (one.examples, one.values) == (whole.examples, whole.values)
    for name in ("fired", "below", "maximum"):
        np.testing.assert_array_equal(getattr(one, name), getattr(whole, name))
    np.testing.assert_allclose(one.mean_output, whole.mean_output, rtol=1e-12)
    assert one.dead.tolist() == [1]


def test_a_unit_that_fires_in_any_part_is_not_dead():
    parts = [Diagnosis((site([0, 0]),), 1000), Diagnosis((site([1, 0]),), 1000)]
    assert merge(parts).sites[0].dead.tolist() == [1]


def test_nan_in_one_part_stays():
    parts = [
        Diagnosis((site([1, 1], minimum=low, maximum=high),), 1000) for low, high in (([NAN, -1], [NAN, 1]), (-2, 2))
    ]
    for order in (parts, parts[::-1]):
        assert merge(order).sites[0].nan.tolist() == [0]
        assert merge(order).sites[0].below.tolist() == [True, True]


def test_merged_sites_keep_their_order_and_sites_of_one_part_are_kept():
    a, b, c = (site([1], name=name) for name in "abc")
    merged = merge([Diagnosis((a, c), 1000), Diagnosis((b, c), 1000)])
    assert [(one.name, one.values) for one in merged.sites] == [("a", 1000), ("c", 2000), ("b", 1000)]


def test_sites_of_another_width_stay_apart():
    assert len(merge([Diagnosis((site([1]),), 1000), Diagnosis((site([1, 1]),), 1000)]).sites) == 2


def test_merged_notes_are_said_once():
    notes = [Diagnosis((), 1, ("one", "two")), Diagnosis((), 1, ("two", "three"))]
    assert merge(notes).notes == ("one", "two", "three")


def test_merging_leaves_the_parts_as_they_were():
    part = Diagnosis((site([1, 0]),), 1000)
    merge([part, part])
    assert part.sites[0].fired.tolist() == [1, 0]
    assert part.sites[0].values == 1000


def test_a_site_is_not_changed():
    with pytest.raises(AttributeError):
        site([1]).name = "other"
    assert replace(site([1]), name="other").name == "other"
