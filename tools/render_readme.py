"""The results that the README shows, and the card of the network in the package, rendered from result files.

    python -m tools.render_readme

writes them between the README's two marks, and the card beside the network; a test fails while they differ.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from defusion_lib.paper.claims import summary_table
from defusion_lib.paper.tables import TABLE_1
from defusion_lib.paths import project_root, write_whole
from defusion_lib.weights import SHIPPED, read_card

BEGIN, END = "<!-- results:begin -->\n", "<!-- results:end -->"
# The evaluations shown, the first of them of the network in the package.
PROFILES = ("cpu", "cpu-384", "cpu-long", "cpu-last100")
COLUMNS = {
    "mae": "MAE ↓",
    "max-f-blur": "max F, blur ↑",
    "max-f-focus": "max F, in focus ↑",
    "f-half-blur": "F at 0.5, blur ↑",
    "auc": "AUC ↑",
    "auc-paper-focus": "AUC, paper's axis, in focus ↑",
}
# What notebook 08 also finds inside its full network; not rows of their own.
VIEWS = {*(f"o{i}" for i in range(1, 7)), "after1", "after2", "after3"}
VARIANTS = {
    "same-process": "in the same process",
    "new-process": "in a new one",
    "one-thread": "with one thread instead of two",
    "generic-aten": "with PyTorch's kernels for any processor",
    "generic-onednn": "with convolutions for an older one",
    "another-seed": "with another seed of the training",
}
EXAMPLE = "little-detail"  # the method that notebook 07 writes to show how one is added
# The columns that the paper's numbers on Shi's set fit.
QUOTED = {"mae": "mae", "f": "max-f-focus", "auc": "auc-paper-focus"}


def results_tables(evaluations: Sequence[Path], table_1: Path, ablations: Path, determinism: Path) -> str:
    """Evaluations beside the paper's row, Table 1, ablations, the tally of all claims, and determinism, as Markdown.

    `evaluations` are result files of notebook 04, `table_1` is that of notebook 07, `ablations` that of notebook 08,
    `determinism` that of tools/determinism.py.
    """
    rows = {}
    for path in evaluations:
        for (dataset, method, profile), line in evaluation_rows(path).items():
            # What marks everything scores the same whichever network stands beside it: once a data set is enough.
            rows.setdefault((dataset, method, "" if method == "all-blurred" else profile), line)
    lines = list(rows.values())
    quoted = {column: TABLE_1["shi", metric, "defusionnet"] for metric, column in QUOTED.items()}
    cells = [f"{quoted[metric]:.3f}" if metric in quoted else "" for metric in COLUMNS]
    lines.append("| not stated | the paper, as quoted | " + " | ".join(cells) + " |")
    head = table_head(["100 test photographs", "method"])
    tables = [methods_table(table_1), ablation_table(ablations), summary_table().strip(), determinism_line(determinism)]
    return "\n\n".join(["\n".join(head + lines), *tables])


def table_head(first: Sequence[str]) -> list[str]:
    """The two lines above a table of `COLUMNS` behind some first columns."""
    names = [*first, *COLUMNS.values()]
    return ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]


def evaluation_rows(path: Path) -> dict[tuple[str, str, str], str]:
    """A line of Markdown for each (data set, method, profile) of a result file of notebook 04."""
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
    """Write the methods of a result file of notebook 07 as Markdown, with the minutes that networks were trained for."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = {}
    for key, value in content["values"].items():
        dataset, method, metric = key.split("/")
        rows.setdefault((dataset, method), {})[metric] = value
    # The first rows are of the tested photographs; agreement with published maps is on others.
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
    """The networks of a result file of notebook 08 that were trained with several seeds, as Markdown."""
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


CARD = """# The network in the package

`defusionnet_compact.safetensors`: a DeFusionNet with compact heads ({parameters:.1f} million parameters, half precision,
{megabytes:.1f} MB), which finds the out-of-focus parts of a photograph. `defusion_lib.weights.load_network()` reads it;
notebook 00 and `defusion_lib.inference.detect` use it. This card is rendered from the file and from result files.

## Numbers

100 test photographs of Shi et al. (split dutlab100), seen at {size} x {size} pixels, scored at their own size:

{table}

The columns are defined in notebook 04, and what the field does with them in notebook 05a.

## How it was made

- Photographs: the 604 training photographs of split {split}, seed {seed}; no test photograph.
- Backbone: VGG-16 with the ImageNet weights of Simonyan and Zisserman, its first {frozen_blocks} blocks frozen, the others adapted.
- Recipe: {stages}; AdamW, learning rate {learning_rate:g} (a tenth of it for the backbone), weight decay {weight_decay:g}, cosine
  schedule, the sum of the cross-entropies of 19 maps (Eq. 9-10), flips and a scale of 1.25.
- {minutes:.0f} minutes on {device}, {threads} threads, finished on {day}, with the code of commit {code}. `make cpu` repeats it; another
  processor gives slightly other weights.
- Tried as well: another hour from there (profile cpu-long), which the test photographs cannot tell from chance.

SHA-256 of the file: `{file_hash}`; of its values (`weights.weights_hash`) after training, in single precision:
`{weights_sha256}`. `tests/stored/shipped_pair.npz` holds a photograph and the map that belongs to it.

## What it is for, and what it is not for

- For research and teaching: a first defocus map, a start for training, the object of the notebooks.
- It knows photographs like those it learnt from: one subject, depth of field as a photographer uses it. Rendered scenes,
  small blurs, and smooth things in focus are where it fails: notebook 11 measures that.
- It says *where* a photograph is out of focus, not by how much, and knows no motion blur.
- It tells nothing about the paper's own network, which has other heads and a longer training.

## Licence

Starting from a VGG-16 under CC BY 4.0 (Simonyan and Zisserman), and trained on photographs that Shi, Xu and Jia offer for
research: use it for research and teaching, and name both. The code around it is under the MIT licence.
"""


def model_card(weights: Path, evaluation: Path) -> str:
    """The card of a stored network as Markdown, with the numbers of its evaluation (notebook 04)."""
    card = read_card(weights)
    given = card["parameters"]
    stages = ", ".join(f"{n} iterations of {batch} at {size} pixels" for n, size, batch in given["stages"])
    seconds = sum(stretch["seconds"] for stretch in card["training_stretches"])
    tested = json.loads(evaluation.read_text(encoding="utf-8"))
    training = json.loads(evaluation.with_name("03_training.json").read_text(encoding="utf-8"))
    (parameters,) = (value for key, value in training["values"].items() if key.endswith("/parameters"))
    return CARD.format(
        parameters=parameters / 1e6,
        megabytes=weights.stat().st_size / 1e6,
        size=tested["stamp"]["parameters"]["size"],
        table="\n".join([*table_head(["set", "method"]), *evaluation_rows(evaluation).values()]),
        stages=stages,
        minutes=seconds / 60,
        device=card["device"],
        threads=card["threads"],
        day=card["started"][:10],
        code=card["training_stretches"][-1]["commit"][:10],
        **{name: given[name] for name in ("split", "seed", "learning_rate", "frozen_blocks", "weight_decay")},
        file_hash=hashlib.sha256(weights.read_bytes()).hexdigest(),
        weights_sha256=card["weights_sha256"],
    )


def written() -> dict[Path, str]:
    """The files that this module writes, and what belongs into them."""
    outputs, readme = project_root() / "outputs", project_root() / "README.md"
    evaluations = [outputs / f"{profile}/results/04_evaluation.json" for profile in PROFILES]
    results = outputs / "cpu/results"
    tables = results_tables(
        evaluations, *(results / f"{name}.json" for name in ("07_table_1", "08_ablations", "determinism"))
    )
    return {
        readme: rendered(readme.read_text(encoding="utf-8"), tables),
        SHIPPED.with_name("README.md"): model_card(SHIPPED, evaluations[0]),
    }


if __name__ == "__main__":
    for path, text in written().items():
        write_whole(path, text.encode())
