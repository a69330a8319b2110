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
VARIANTS = {
    "same-process": "in the same process",
    "new-process": "in a new one",
    "one-thread": "with one thread instead of two",
    "generic-aten": "with PyTorch's kernels for any processor",
    "generic-onednn": "with convolutions for an older one",
    "another-seed": "with another seed of the training",
}
QUOTED = {"mae": "mae", "f": "max-f-focus", "auc": "auc-paper-focus"}


def results_tables(evaluation: Path, determinism: Path) -> str:
    """One evaluation beside the paper's row, the tally of all claims, and a line on determinism, as Markdown.

    `evaluation` is the result file of notebook 04, `determinism` that of tests/determinism.py.
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
    return "\n".join(lines) + "\n\n" + summary_table() + "\n" + determinism_line(determinism)


def determinism_line(determinism: Path) -> str:
    """How far weights and results move when nothing but the machine changes, as one line of Markdown."""
    values = json.loads(determinism.read_text(encoding="utf-8"))["values"]

    def moved(variant):
        found = {key.rpartition("/")[2]: value for key, value in values.items() if f"/{variant}/" in key}
        results = max(value for item, value in found.items() if item[:2].isdecimal())
        return f"{found['weights']:.1g} and {results:.1g}"

    each = ", ".join(f"{moved(variant)} {words}" for variant, words in VARIANTS.items())
    return (
        "Determinism (largest change of a weight in the quick training, and of any number in the quick results): "
        f"{each}.\n"
    )


def rendered(readme: str, tables: str) -> str:
    """The README's text with tables between its marks; ValueError where the marks are missing."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"README.md has no place for results: expected the lines {BEGIN.strip()} and {END}.")
    return before + BEGIN + tables + END + after


if __name__ == "__main__":
    readme = project_root() / "README.md"
    results = project_root() / "outputs/cpu/results"
    tables = results_tables(results / "04_evaluation.json", results / "determinism.json")
    write_whole(readme, rendered(readme.read_text(encoding="utf-8"), tables).encode())
