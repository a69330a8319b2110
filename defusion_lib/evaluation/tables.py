"""Tables of scores, as the notebooks show them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd


def table(rows: Mapping[str, Mapping[str, object]], digits: int = 3) -> pd.DataFrame:
    """Make a table of {row: {column: value}}: floats with so many digits, and nothing where a row lacks a value.

    As the last line of a cell it is shown as a table.
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [[row.get(column, "") for column in columns] for row in rows.values()]
    cells = [[f"{cell:.{digits}f}" if isinstance(cell, float | np.floating) else cell for cell in row] for row in cells]
    return pd.DataFrame(cells, list(rows), columns, dtype=object)
