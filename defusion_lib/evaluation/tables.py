"""Tables of scores, as the notebooks show them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from defusion_lib.metrics import Evaluation

# The measures of `Evaluation.values` in words, with an arrow towards better.
MEASURES = {
    "mae": "MAE ↓",
    "max-f-blur": "max F, blur ↑",
    "max-f-focus": "max F, in focus ↑",
    "f-half-blur": "F at 0.5, blur ↑",
    "auc": "AUC ↑",
    "auc-paper-blur": "AUC on the paper's axis, blur ↑",
    "auc-paper-focus": "AUC on the paper's axis, in focus ↑",
}


def table(rows: Mapping[str, Mapping[str, object]], digits: int = 3) -> pd.DataFrame:
    """Make a table of {row: {column: value}}: floats with so many digits, and nothing where a row lacks a value.

    A p-value (a column "p" or "p, ...") that all its digits would show as 0 is "< 0.001". As the last line of a cell it
    is shown as a table.
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))

    def shown(column: str, cell: object) -> object:
        if not isinstance(cell, float | np.floating):
            return cell
        smallest = 10.0**-digits
        is_p = column == "p" or column.startswith("p, ")
        return f"< {smallest:.{digits}f}" if is_p and cell < smallest / 2 else f"{cell:.{digits}f}"

    cells = [[shown(column, row.get(column, "")) for column in columns] for row in rows.values()]
    return pd.DataFrame(cells, list(rows), columns, dtype=object)


def titled(values: Mapping[str, float]) -> dict[str, float]:
    """Return scores under their measures in words, {title: score}; other names stay as they are."""
    return {MEASURES.get(name, name): value for name, value in values.items()}


def stated(values: Mapping[str, float]) -> dict[str, str]:
    """Return the measures of `map_scores.with_errors` in words, {title: "score ± standard error"}."""
    found = with_their_errors(values)
    return {title: found[metric] for metric, title in MEASURES.items()}


def with_their_errors(values: Mapping[str, float], digits: int = 3) -> dict[str, str]:
    """Return all scores of `map_scores.with_errors`, {metric: "score ± standard error"}."""
    return {
        metric: f"{value:.{digits}f} ± {values[error]:.{digits}f}"
        for metric, value in values.items()
        if (error := f"{metric}-se") in values
    }


def measure_rows(evaluations: Mapping[str, Evaluation], values: Mapping[str, Mapping[str, float]]) -> dict[str, dict]:
    """Return the rows of a table, {measure: {method: "score ± standard error"}}; `values` are of `with_errors`.

    The rows of max F also have the column "floor", the F of marking every pixel.
    """
    columns = {method: stated(of_method) for method, of_method in values.items()}
    rows = {title: {method: column[title] for method, column in columns.items()} for title in MEASURES.values()}
    for positive in ("blur", "focus"):
        floor = next(iter(evaluations.values())).all_positive_f(positive)
        rows[MEASURES[f"max-f-{positive}"]]["floor"] = f"{floor:.3f}"
    return rows
