"""A new notebook is in the list of the notebooks. That it runs is seen where its recipe is followed."""

import pytest

from tools.new_notebook import listed

PAGE = """\
| | |
|---|---|
| [06](06_claims.ipynb) | Numbers | | |
| [07](07_table_1.ipynb) | Table 1 | | [07](../outputs/cpu/07_table_1.ipynb) |
| [07b](07b_other_photos.ipynb) | The same | | |

## In class
"""


@pytest.mark.parametrize(("stem", "number", "place"), [("07a_own", "07a", 4), ("15_own", "15", 5)])
def test_a_row_stands_where_its_name_belongs(stem, number, place):
    lines = PAGE.splitlines()
    lines.insert(place, f"| [{number}]({stem}.ipynb) | What is it? | | |")
    assert listed(PAGE, stem, "What is it?").splitlines() == lines


def test_a_list_without_rows_is_named():
    with pytest.raises(ValueError, match="README.md has no row for a notebook before 15_own"):
        listed("# The notebooks\n", "15_own", "What is it?")
