"""Render the results in README.md and outputs/README.md, the findings, and the card of the network in the package.

    python -m tools.render_readme

writes the results between the two marks of a page, outputs/FINDINGS.md, outputs/COSTS.md, and the card beside the
network; a test compares all of them.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from defusion_lib.paper import claims
from defusion_lib.paper.tables import TABLE_1
from defusion_lib.paths import project_root, write_atomically
from defusion_lib.weights import SHIPPED
from tools import render_costs, render_findings
from tools.render_card import model_card
from tools.render_results import cell, read, rendered, rows_of

# The evaluations shown, the first of them of the network in the package.
PROFILES = ("box", "cpu", "cpu-last100")
LOOKS = "three times: twice with the network after part 2, in 16 and in 8 bits, once with this one, in 8 bits"
COLUMNS = {
    "mae": "MAE ↓",
    "max-f-blur": "max F, blur ↑",
    "max-f-focus": "max F, in focus ↑",
    "f-half-blur": "F at 0.5, blur ↑",
    "auc": "AUC ↑",
    "auc-paper-focus": "AUC, paper's axis, in focus ↑",
}
# Results of parts of one network in notebook 08; the table of ablations has no rows for them.
VIEWS = {*(f"o{i}" for i in range(1, 7)), "after1", "after2", "after3"}
VARIANTS = {
    "same-process": "in the same process",
    "new-process": "in a new one",
    "one-thread": "with one thread instead of two",
    "generic-aten": "with PyTorch's kernels for all processors",
    "generic-onednn": "with convolutions for older processors",
    "another-seed": "with another seed of the training",
}
EXAMPLE = "little-detail"  # the method of the example in notebook 07
# The columns with the definitions that fit the paper's numbers on Shi's set.
QUOTED = {"mae": "mae", "f": "max-f-focus", "auc": "auc-paper-focus"}


SUMMARY = {"mae": "MAE ↓", "max-f-focus": "max F, in focus ↑", "max-f-blur": "max F, blur ↑", "auc": "AUC ↑"}


def summary(results: Path, floor: Path) -> str:
    """Render how good the network in the package is, and the counts of claims, as Markdown for the README.

    `results` is the folder of its result files, `floor` the result file of notebook 04 with the method all-blurred.
    """
    shi, szu = (read(results / f"stress_{name}.json") for name in ("shi", "szu"))
    photos = {name: content["stamp"]["data"]["photographs"] for name, content in (("shi", shi), ("szu", szu))}
    ours = "defusionnet-compact"
    mae, f, auc = (cell(shi, "shi-dutlab100", metric) for metric in ("mae", "max-f-focus", "auc"))
    line = (
        f"**How good is it?** On {photos['shi']} test photos of Shi et al., the network in the package has a mean "
        f"absolute error of {mae}, a maximum F-measure of {f} (in-focus pixels positive) and an AUC of {auc}."
    )
    rows = [
        [words, *(cell(content, dataset, metric, method) for metric in SUMMARY)]
        for words, content, dataset, method in (
            (f"Shi et al., {photos['shi']} test photos", shi, "shi-dutlab100", ours),
            ("the same photos, everything called blurred", read(floor), "shi-dutlab100", "all-blurred"),
            (f"SZU-BD, {photos['szu']} photos of other cameras", szu, "szu", ours),
            ("the same photos, published maps of EFPN (2019)", szu, "szu", "efpn"),
        )
    ]
    noise = cell(shi, "shi-dutlab100", "mae-noise-20")
    sharp, square = cell(shi, "sharp", "blurred-share"), cell(shi, "shi-dutlab100", "blurred-share-sharp-square")
    limits = (
        f"Noise of 20 levels raises the MAE on Shi's photos to {noise}. Of photos that are sharp everywhere it calls "
        f"{sharp} of the pixels blurred, of sharp squares cut from the test photos {square}. ± is the standard error "
        "over the photos."
    )
    counts = claims.summary_table(claims.load()).strip()
    return "\n\n".join([f"{line} {limits}", rows_of(["on", *SUMMARY.values()], rows), counts]) + "\n"


def results_tables(evaluations: Sequence[Path], table_1: Path, ablations: Path, determinism: Path) -> str:
    """Render evaluations with the paper's row, Table 1, ablations and determinism as Markdown, for outputs/README.md.

    `evaluations` are result files of notebook 04, `table_1` is that of notebook 07, `ablations` that of notebook 08,
    `determinism` that of tools/determinism.py.
    """
    rows = {}
    for path in evaluations:
        for (dataset, method, profile), line in evaluation_rows(path).items():
            # The scores of all-blurred do not depend on the profile: one row per data set is enough.
            rows.setdefault((dataset, method, "" if method == "all-blurred" else profile), line)
    lines = list(rows.values())
    quoted = {column: TABLE_1["shi", metric, "defusionnet"] for metric, column in QUOTED.items()}
    cells = [f"{quoted[metric]:.3f}" if metric in quoted else "" for metric in COLUMNS]
    lines.append("| not stated | the paper, as quoted | " + " | ".join(cells) + " |")
    head = table_head(["100 test photos", "method"])
    tables = [methods_table(table_1), ablation_table(ablations), determinism_line(determinism)]
    return "\n\n".join(["\n".join(head + lines), *tables])


def table_head(first: Sequence[str]) -> list[str]:
    """Return the two lines of a table's head: some first columns, then `COLUMNS`."""
    names = [*first, *COLUMNS.values()]
    return ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]


def evaluation_rows(path: Path) -> dict[tuple[str, str, str], str]:
    """Render a line of Markdown for each (data set, method, profile) of a result file of notebook 04."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = {}
    for key, value in content["values"].items():
        dataset, method, metric = key.split("/")
        rows.setdefault((dataset, method), {})[metric] = value
    profile, lines = content["stamp"]["profile"], {}
    for (dataset, method), row in rows.items():
        cells = [dataset, f"{method}, profile {profile}", *(f"{row[metric]:.3f}" for metric in COLUMNS)]
        lines[dataset, method, profile] = f"| {' | '.join(cells)} |"
    return lines


def methods_table(path: Path) -> str:
    """Render the methods of a result file of notebook 07 as Markdown, with the minutes of training of networks."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = {}
    for key, value in content["values"].items():
        dataset, method, metric = key.split("/")
        rows.setdefault((dataset, method), {})[metric] = value
    # The first keys are of the test photos; agreement with published maps is measured on others.
    dataset = next(iter(rows))[0]
    shown = {name: row for name, row in rows.items() if name[0] == dataset and "mae" in row and name[1] != EXAMPLE}
    columns = ("mae", "max-f-blur", "max-f-focus", "auc")
    names = [f"Table 1, profile {content['stamp']['profile']}: {dataset}", "trained", *(COLUMNS[c] for c in columns)]
    lines = ["| " + " | ".join(names) + " |", "|---|" + "---:|" * (len(names) - 1)]
    for (_, method), row in shown.items():
        trained = f"{row['training-seconds'] / 60:.0f} min" if "training-seconds" in row else ""
        cells = [method, trained, *(f"{row[column]:.3f}" for column in columns)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def ablation_table(path: Path) -> str:
    """Render the networks of a result file of notebook 08 that were trained with several seeds as Markdown."""
    content = json.loads(path.read_text(encoding="utf-8"))
    stamp, values = content["stamp"], content["values"]
    given = stamp["parameters"]
    drawn = sum(iterations * batch for iterations, _, batch in given["stages"])
    seeds = len(given["seeds"])
    lines = [
        f"| ablations, profile {stamp['profile']}: {drawn} samples at {given['size']} pixels, {seeds} seeds "
        "| MAE ↓ | max F, in focus ↑ |",
        "|---|---:|---:|",
    ]
    for key in values:
        dataset, method, metric = key.split("/")
        if metric == "mae-std" and not VIEWS & set(method.split("+")):
            names = [f"{dataset}/{method}/{each}" for each in ("mae", "max-f-focus")]
            cells = [f"{values[name]:.3f} ± {values[f'{name}-std']:.3f}" for name in names]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def determinism_line(determinism: Path) -> str:
    """Render how far weights and results change with the machine alone, as one line of Markdown."""
    values = json.loads(determinism.read_text(encoding="utf-8"))["values"]

    def moved(variant):
        found = {key.rpartition("/")[2]: value for key, value in values.items() if f"/{variant}/" in key}
        results = max(value for item, value in found.items() if item[:2].isdecimal())
        return f"{found['weights']:.1g} and {results:.1g}"

    each = ", ".join(f"{moved(variant)} {words}" for variant, words in VARIANTS.items())
    return (
        "Determinism (largest change of a weight in the quick training, and of a number in the quick results): "
        f"{each}.\n"
    )


def makers() -> dict[Path, Callable[[], str]]:
    """Return the files that this module writes: {path: function that renders its content}."""
    outputs = project_root() / "outputs"
    box, results = outputs / "box/results", outputs / "cpu/results"
    evaluations = [outputs / f"{profile}/results/04_evaluation.json" for profile in PROFILES]
    tables = [results / f"{name}.json" for name in ("07_table_1", "08_ablations", "determinism")]

    def between_marks(page: Path, render: Callable[[], str]) -> Callable[[], str]:
        return lambda: rendered(page.read_text(encoding="utf-8"), render())

    readme, table_page = project_root() / "README.md", outputs / "README.md"
    return {
        readme: between_marks(readme, lambda: summary(box, results / "04_evaluation.json")),
        table_page: between_marks(table_page, lambda: results_tables(evaluations, *tables)),
        SHIPPED.with_name("README.md"): lambda: model_card(SHIPPED, box, results, LOOKS),
        outputs / "FINDINGS.md": lambda: render_findings.page(outputs),
        outputs / "COSTS.md": lambda: render_costs.costs_page(
            results, box, project_root() / "params/paper/08_ablations.yaml"
        ),
    }


if __name__ == "__main__":
    for path, make in makers().items():
        write_atomically(path, make().encode())
