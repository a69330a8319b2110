"""Tables of scores, as the notebooks show them."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from defusion_lib.evaluation.map_scores import standard_errors
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

    As the last line of a cell it is shown as a table.
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [[row.get(column, "") for column in columns] for row in rows.values()]
    cells = [[f"{cell:.{digits}f}" if isinstance(cell, float | np.floating) else cell for cell in row] for row in cells]
    return pd.DataFrame(cells, list(rows), columns, dtype=object)


def titled(values: Mapping[str, float]) -> dict[str, float]:
    """Return scores under their measures in words, {title: score}; other names stay as they are."""
    return {MEASURES.get(name, name): value for name, value in values.items()}


def measure_rows(evaluations: Mapping[str, Evaluation], draws: int = 2000, seed: int = 0) -> dict[str, dict[str, str]]:
    """Return the rows of a table, {measure: {method: "score ± bootstrap standard error"}}.

    The rows of max F also have the column "floor", the F of marking every pixel.
    """
    rows: dict[str, dict[str, str]] = {title: {} for title in MEASURES.values()}
    for method, evaluation in evaluations.items():
        errors = standard_errors(evaluation, draws, seed)
        for metric, value in evaluation.values().items():
            rows[MEASURES[metric]][method] = f"{value:.3f} ± {errors[metric]:.3f}"
    for positive in ("blur", "focus"):
        floor = next(iter(evaluations.values())).all_positive_f(positive)
        rows[MEASURES[f"max-f-{positive}"]]["floor"] = f"{floor:.3f}"
    return rows
