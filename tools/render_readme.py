"""Render the results in README.md, the pages of outputs/, and the card of the network in the package.

    python -m tools.render_readme

writes the results between the two marks of README.md, outputs/README.md, outputs/FINDINGS.md, outputs/COSTS.md, and the
card beside the network; a test compares all of them.
"""

from collections.abc import Callable
from pathlib import Path

import yaml

from defusion_lib import SPINCOUNT
from defusion_lib.baselines.deep import MINUTES
from defusion_lib.evaluation.tables import MEASURES
from defusion_lib.paper import claims
from defusion_lib.paper.tables import METHODS, TABLE_1
from defusion_lib.paths import project_root, write_atomically
from defusion_lib.runs.parameters import read_parameters
from defusion_lib.weights import SHIPPED
from tools import render_costs, render_findings
from tools.bench_spin import LIBGOMP
from tools.graph import parameters_cell
from tools.render_card import HELD_OUT, model_card
from tools.render_commands import commands_section
from tools.render_results import cell, read, rendered, result, rows_of, samples

# The profiles whose results of notebook 04 are shown, and which network each one tests.
EVALUATED = {
    "box": "the network in the package",
    "cpu": "that of notebook 03, profile cpu",
    "cpu-last100": "that of notebook 03, profile cpu-last100",
}
LOOKS = (
    "three times before the network was final: with the network after part 2 in 16 and in 8 bits, and with this one in "
    "8 bits. Later results of this network on the same photos (notebooks 00, 04, 09, 11, 12 and others) chose nothing"
)
COLUMNS = {metric: words for metric, words in MEASURES.items() if metric != "auc-paper-blur"}
SUMMARY = {metric: MEASURES[metric] for metric in ("mae", "max-f-focus", "max-f-blur", "auc")}
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
# Parameters that say where a file is: another place can hold the same file.
PLACES = {"backbone", "begin_with", "data_root", "maps_root"}

PAGE = """# Results

`outputs/<profile>/` holds the notebooks executed with the parameters of `params/<profile>/`, `results/*.json` (every
number with seed, commit, versions and device, most with photos and time), and the arrays behind the figures. `quick`
is made by `make run` and not stored here. `python -m tools.render_readme` writes this page from result files.

[What the collection found](FINDINGS.md) says in sentences what these numbers show, and what they do not.
[What it would cost](COSTS.md) calculates the hours of large runs from measured seconds.

{tables}

{commands}
## How to read these tables

The [glossary](../defusion_lib/paper/glossary.md) explains compact, CAM, FAM, FFRM, dutlab100, last100, MAE, max F and
AUC; [notebook 04](../notebooks/04_evaluation.ipynb) computes the measures. In the name of a method, `+stride2` means
that the network fuses its features on every second pixel, `+nocam`, `+nofam` and `+noffrm` that it lacks this part,
and `+step1` that it has one step instead of three. `dmenet+stretched` is DMENet with the values of each map stretched
to the range 0 to 1.

The paper does not say how its F-measure and AUC were computed, or which class is positive. Its text states the photos
of last100; its numbers of DeFusionNet fit those of dutlab100 better. The row of the paper quotes its Table 1; it stands
in the columns that its numbers fit (in-focus pixels positive, a ROC curve over the share of all pixels); both are
inferred ([notebook 05b](../notebooks/05b_what_auc_means.ipynb), [05c](../notebooks/05c_table_1_converted.ipynb)). All
networks here are smaller than the reference network (17.8 instead of 62.6 million parameters) and were trained on one
or two cores.

Profile box is the network in the package ([its card](../defusion_lib/shipped/README.md)). Profile cpu trains a network
of the same size, with {of_cpu:,} samples. The network of the other split (cpu-last100) was trained with
{of_last100:,}, so the rows do not compare the splits.

The ablations are small networks with a short training: compare them with one another and with the spread over
seeds, not with the other rows. Notebook 08 lists which of the paper's differences show. `cpu-pilot` holds the
ablations from which those of profile cpu were planned.

The rows of Table 1 are our implementations on the same photos. All networks were trained with the same budget on
photos of the same training list: the iterations that {minutes} minutes of one core of a fast processor allow, or fewer
where the loss on held-out photos had stopped falling. The minutes shown are by the clock on a slower processor, which
ran other programs during the trainings of DHDE, DBM, BTBNet and CVPR 2019. `+budget` is DeFusionNet with this budget,
the other row of DeFusionNet is the network in the package. Such a budget decides the ranking, so the rows do not rank
the methods. Methods with a higher MAE than calling everything blurred: {worse}. (The paper's table has such methods,
too: {worse_in_paper}, if calling everything blurred has {floor}, as on the test photos that its text states. Its
BTBNet was trained for nearly five days.) Notebook 07 has the rest, and quotes published numbers of newer methods.

Result files of notebooks hold the parameters that they were made with.{outdated}
"""


def summary(results: Path, floor: Path) -> str:
    """Render how good the network in the package is, and the counts of claims, as Markdown for the README.

    `results` is the folder of its result files, `floor` the result file of notebook 04 with the method all-blurred.
    """
    contents = {name: read(results / f"{name}.json") for name in ("stress_shi", "stress_szu", "held_out")}
    photos = {name: content["stamp"]["data"]["photographs"] for name, content in contents.items()}
    shi, szu, held_out = contents.values()
    ours = "defusionnet-compact"
    mae, f, auc = (cell(shi, "shi-dutlab100", metric) for metric in ("mae", "max-f-focus", "auc"))
    line = (
        f"**How good is it?** On {photos['stress_shi']} test photos of Shi et al., the network in the package has a "
        f"mean absolute error of {mae}, a maximum F-measure of {f} (in-focus pixels positive) and an AUC of {auc}."
    )
    rows = [
        [words, *(cell(content, dataset, metric, method) for metric in SUMMARY)]
        for words, content, dataset, method in (
            (f"Shi et al., {photos['stress_shi']} test photos", shi, "shi-dutlab100", ours),
            ("the same photos, everything called blurred", read(floor), "shi-dutlab100", "all-blurred"),
            (f"{photos['held_out']} other photos of Shi's set, harder ones", held_out, HELD_OUT, ours),
            (f"SZU-BD, {photos['stress_szu']} photos of another data set", szu, "szu", ours),
            ("the same photos, published maps of EFPN (2019)", szu, "szu", "efpn"),
        )
    ]
    noise = cell(shi, "shi-dutlab100", "mae-noise-20")
    sharp, square = cell(shi, "sharp", "blurred-share"), cell(shi, "shi-dutlab100", "blurred-share-sharp-square")
    limits = (
        f"Noise of 20 levels raises the MAE on Shi's photos to {noise}. Of photos that are sharp everywhere it calls "
        f"{sharp} of the pixels blurred, of sharp squares cut from the test photos and enlarged {square}. ± is the "
        "standard error over the photos."
    )
    counts = claims.summary_table(claims.load()).strip()
    return "\n\n".join([f"{line} {limits}", rows_of(["on", *SUMMARY.values()], rows), counts]) + "\n"


def results_page(root: Path) -> str:
    """Render outputs/README.md as Markdown, for the checkout `root`."""
    sentences = [
        f"The results of notebook{'s' * (len(numbers) > 1)} {', '.join(numbers)} of profile {profile} are older than "
        f"the parameters that are now in `params/{profile}/` and in the notebooks."
        for profile, numbers in outdated(root).items()
    ]
    floor = scores(result(root / "outputs", "cpu-last100/04_evaluation"))[render_findings.LAST, "all-blurred"]["mae"]
    return PAGE.format(
        tables=results_tables(root),
        commands=commands_section(root / "outputs"),
        worse=", ".join(worse_than_floor(result(root / "outputs", "cpu/07_table_1"))),
        worse_in_paper=", ".join(method for method in METHODS if TABLE_1["shi", "mae", method] > floor),
        floor=f"{floor:.3f}",
        minutes=MINUTES,
        of_cpu=samples(result(root / "outputs", "cpu/03_training")),
        of_last100=samples(result(root / "outputs", "cpu-last100/03_training")),
        outdated="".join(f"\n{sentence}" for sentence in sentences),
    )


def outdated(root: Path) -> dict[str, list[str]]:
    """Return the notebooks whose results were made with other parameters than now, {profile: numbers}.

    Parameters are the notebook's defaults and those of params/; one that a result does not have came later.
    """
    found: dict[str, list[str]] = {}
    for path in sorted((root / "params").glob("*/*.yaml")):
        profile, stored = path.parent.name, root / f"outputs/{path.parent.name}/results/{path.stem}.json"
        if not stored.is_file():
            continue
        notebook = root / f"notebooks/{path.stem}.ipynb"
        defaults = read_parameters(parameters_cell(notebook)) if notebook.is_file() else {}
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        now = {name: value for name, value in (defaults | given).items() if name not in PLACES | {"profile"}}
        used = read(stored)["stamp"]["parameters"]
        if any(used.get(name, defaults.get(name)) != value for name, value in now.items()):
            found.setdefault(profile, []).append(path.stem.partition("_")[0])
    return found


def results_tables(root: Path) -> str:
    """Render evaluations, Table 1, ablations and two lines on the machine as Markdown, for the checkout `root`."""
    results = root / "outputs/cpu/results"
    tables = [
        evaluation_table(root / "outputs"),
        methods_table(results / "07_table_1.json"),
        ablation_table(results / "08_ablations.json"),
        determinism_line(results / "determinism.json"),
        busy_line(results / "bench_spin.json"),
    ]
    return "\n\n".join(tables)


def evaluation_table(outputs: Path) -> str:
    """Render the results of notebook 04, those of marking every pixel, and the paper's row as Markdown."""
    rows: dict[tuple[str, str], list[str]] = {}
    for profile, network in EVALUATED.items():
        content = result(outputs, f"{profile}/04_evaluation")
        for dataset, method in scores(content):
            # The scores of all-blurred do not depend on the profile: one row per data set is enough.
            words = "everything called blurred" if method == "all-blurred" else network
            measured = [cell(content, dataset, metric, method) for metric in COLUMNS]
            rows.setdefault((f"Shi et al., {dataset.removeprefix('shi-')}", words), measured)
    quoted = {column: TABLE_1["shi", metric, "defusionnet"] for metric, column in QUOTED.items()}
    rows["last100 by its text", "the paper, as quoted"] = [
        f"{quoted[metric]:.3f}" if metric in quoted else "" for metric in COLUMNS
    ]
    return rows_of(["100 test photos", "method", *COLUMNS.values()], [[*names, *row] for names, row in rows.items()], 2)


def scores(content: dict) -> dict[tuple[str, str], dict[str, float]]:
    """Return the numbers of a result file by data set and method, {(data set, method): {metric: value}}."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    for key, value in content["values"].items():
        dataset, method, metric = key.split("/")
        rows.setdefault((dataset, method), {})[metric] = value
    return rows


def methods_table(path: Path) -> str:
    """Render the methods of a result file of notebook 07 as Markdown, with the minutes of training of networks."""
    content = read(path)
    dataset = render_findings.SHI
    columns = ("mae", "max-f-blur", "max-f-focus", "auc")
    head = [f"Table 1, profile {content['stamp']['profile']}: {dataset}", "trained", *(COLUMNS[c] for c in columns)]
    lines = []
    for method, row in tested_methods(content).items():
        trained = f"{row['training-seconds'] / 60:.0f} min" if "training-seconds" in row else ""
        lines.append([method, trained, *(cell(content, dataset, column, method) for column in columns)])
    return rows_of(head, lines)


def worse_than_floor(content: dict) -> list[str]:
    """Return the methods of a result file of notebook 07 with a higher MAE than calling every pixel blurred."""
    tested = tested_methods(content)
    return [method for method, row in tested.items() if row["mae"] > tested["all-blurred"]["mae"]]


def tested_methods(content: dict) -> dict[str, dict[str, float]]:
    """Return the methods that notebook 07 tested on Shi's photos, without its example, {method: {metric: value}}."""
    return {
        method: row
        for (dataset, method), row in scores(content).items()
        if dataset == render_findings.SHI and "mae" in row and method != EXAMPLE
    }


def ablation_table(path: Path) -> str:
    """Render the networks of a result file of notebook 08 that were trained with several seeds as Markdown."""
    content = read(path)
    stamp, values = content["stamp"], content["values"]
    given = stamp["parameters"]
    drawn = render_findings.samples(content)
    seeds = len(given["seeds"])
    budget = f"{drawn:,} samples at {given['size']} pixels, {seeds} seeds"
    head, lines = [f"ablations, profile {stamp['profile']}: {budget}", "MAE ↓", "max F, in focus ↑"], []
    for key in values:
        dataset, method, metric = key.split("/")
        if metric == "mae-std" and not VIEWS & set(method.split("+")):
            names = [f"{dataset}/{method}/{each}" for each in ("mae", "max-f-focus")]
            lines.append([method, *(f"{values[name]:.3f} ± {values[f'{name}-std']:.3f}" for name in names)])
    return rows_of(head, lines)


def determinism_line(determinism: Path) -> str:
    """Render how far weights and results change with the machine alone, as one line of Markdown."""
    values = read(determinism)["values"]

    def moved(variant):
        found = {key.rpartition("/")[2]: value for key, value in values.items() if f"/{variant}/" in key}
        results = max(value for item, value in found.items() if item[:2].isdecimal())
        return f"{found['weights']:.1g} and {results:.1g}"

    each = ", ".join(f"{moved(variant)} {words}" for variant, words in VARIANTS.items())
    return (
        f"Determinism (largest change of a weight in the quick training, and of a number in the quick results): {each}."
    )


def busy_line(spin: Path) -> str:
    """Render how much longer work takes beside two busy programs, as one line of Markdown."""
    content = read(spin)
    values, load = content["values"], content["stamp"]["load_before"]
    run, step, default = (
        values[f"{work}/busy-ratio"] for work in ("quick/make-run", f"step/spin-{SPINCOUNT}", f"step/spin-{LIBGOMP}")
    )
    return (
        f"Beside two busy programs on two cores `make run` takes {run:.1f} times as long as alone, and a training step "
        f"{step:.1f} times; with threads that wait as long as libgomp's do by default, {default:.1f} times "
        f"(`make bench-spin`; the load before it was {load:.1f}, so the times alone may be too long)."
    )


def makers() -> dict[Path, Callable[[], str]]:
    """Return the files that this module writes: {path: function that renders its content}."""
    outputs = project_root() / "outputs"
    box, results = outputs / "box/results", outputs / "cpu/results"
    root, readme = project_root(), project_root() / "README.md"
    return {
        readme: lambda: rendered(readme.read_text(encoding="utf-8"), summary(box, results / "04_evaluation.json")),
        outputs / "README.md": lambda: results_page(root),
        SHIPPED.with_name("README.md"): lambda: model_card(SHIPPED, box, results, LOOKS),
        outputs / "FINDINGS.md": lambda: render_findings.page(outputs),
        outputs / "COSTS.md": lambda: render_costs.costs_page(
            results, box, project_root() / "params/paper/08_ablations.yaml"
        ),
    }


if __name__ == "__main__":
    for path, make in makers().items():
        write_atomically(path, make().encode())
