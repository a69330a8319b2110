"""Results are found under their names, and formatted with their errors."""

import pytest

from tools.render_results import cell, find, photos, signed, stated

CONTENT = {
    "stamp": {"data": [{"name": "shi", "photographs": 604}, {"name": "shi", "photographs": 100}]},
    "values": {
        "shi/net+budget/auc": 0.5,
        "shi/net+stride2/auc": 0.75,
        "shi/net+stride2/auc-se": 0.01,
        "shi/net/mae": 0.1,
        "shi/net/mae-standard-error": 0.02,
        "shi/net+stride2/mae": 0.3,
    },
}


def test_a_result_has_its_exact_name_or_that_of_the_network_at_half_resolution():
    assert find(CONTENT, "shi", "auc", "net") == "shi/net+stride2/auc"
    assert find(CONTENT, "shi", "mae", "net") == "shi/net/mae"
    assert find(CONTENT, "shi", "auc", "other") is None


def test_a_number_has_its_error():
    assert (cell(CONTENT, "shi", "auc", "net"), cell(CONTENT, "shi", "mae", "net")) == (
        "0.750 ± 0.010",
        "0.100 ± 0.020",
    )
    assert (cell(CONTENT, "shi", "auc", "net+budget"), cell(CONTENT, "szu", "auc", "net")) == ("0.500", "")
    with pytest.raises(KeyError, match="has no szu/net/auc"):
        stated(CONTENT, "szu", "auc", "net")


def test_photos_are_those_of_the_test():
    of_one = {"stamp": {"data": {"name": "szu", "photographs": 9}}}
    assert (photos(CONTENT, "shi"), photos(of_one, "szu")) == (100, 9)


def test_a_difference_has_a_sign_unless_it_is_zero():
    assert [signed(value) for value in (0.0016, -0.0016, -0.0004, 0)] == ["+0.002", "-0.002", "0.000", "0.000"]
