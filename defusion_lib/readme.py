"""The results that the README shows, rendered from result files.

    python -m defusion_lib.readme

writes them between the README's two marks; a test fails while they differ.
"""

import json
from pathlib import Path

from defusion_lib.ledger import summary_table
from defusion_lib.paper import TABLE_1
from defusion_lib.runs import project_root, write_whole

BEGIN, END = "<!-- results:begin -->\n", "<!-- results:end -->"
COLUMNS = {
    "mae": "MAE ↓",
    "max-f-blur": "max F, blur ↑",
    "max-f-focus": "max F, in focus ↑",
    "f-half-blur": "F at 0.5, blur ↑",
    "auc": "AUC ↑",
    "auc-paper-focus": "AUC, paper's axis, in focus ↑",
}
# The columns that the paper's numbers on Shi's set fit.
QUOTED = {"mae": "mae", "f": "max-f-focus", "auc": "auc-paper-focus"}


def results_tables(evaluation: Path) -> str:
    """One evaluation beside the paper's row, and the tally of all claims, as Markdown.

    `evaluation` is the result file of notebook 04.
    """
    content = json.loads(evaluation.read_text(encoding="utf-8"))
    stamp, rows = content["stamp"], {}
    for key, value in content["values"].items():
        dataset, method, metric = key.split("/")
        rows.setdefault((dataset, method), {})[metric] = value
    lines = [
        "| " + " | ".join(["100 test photographs", "method", *COLUMNS.values()]) + " |",
        "|---" * (2 + len(COLUMNS)) + "|",
    ]
    for (dataset, method), row in rows.items():
        cells = [f"{row[metric]:.3f}" for metric in COLUMNS]
        lines.append(f"| {dataset} | {method}, profile {stamp['profile']} | " + " | ".join(cells) + " |")
    quoted = {column: TABLE_1["shi", metric, "defusionnet"] for metric, column in QUOTED.items()}
    cells = [f"{quoted[metric]:.3f}" if metric in quoted else "" for metric in COLUMNS]
    lines.append("| not stated | the paper, as quoted | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n\n" + summary_table()


def rendered(readme: str, tables: str) -> str:
    """The README's text with tables between its marks; ValueError where the marks are missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has no place for results: expected the lines {BEGIN.strip()} and {END}.")
    return before + BEGIN + tables + END + after


if __name__ == "__main__":
    readme = project_root() / "README.md"
    tables = results_tables(project_root() / "outputs/cpu/results/04_evaluation.json")
    write_whole(readme, rendered(readme.read_text(encoding="utf-8"), tables).encode())
