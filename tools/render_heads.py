"""Render the result on real photos in the first cell of each notebook: key numbers and key figure.

    python -m tools.render_heads

writes between the two marks of the cell, in `notebooks/` and in the executed copies below `outputs/` that have the
marks; a test compares all of them. The key figure of a notebook is the last plot of the named section of its executed
copy; its PNG goes to `outputs/heads/`. A copy shows its figures itself.
"""

import json
import posixpath
from collections.abc import Callable
from pathlib import Path

from scipy import stats

from defusion_lib.baselines import BASELINES
from defusion_lib.evaluation.protocols import auc_paper_ceiling
from defusion_lib.paper import claims, conversion
from defusion_lib.paper.tables import TABLE_1, TIMINGS
from defusion_lib.paths import project_root, write_atomically
from tools.copies import is_stale, stored, with_words_of
from tools.render_findings import (
    CAMS,
    OURS,
    SHI,
    ablation,
    attention_change,
    auc_of,
    executed_copy,
    inactive_cams,
    is_shipped,
    network_words,
    samples,
)
from tools.render_results import BEGIN, classical_methods, find, not_attempted, photos, rendered, result, signed, stated
from tools.site.paper_index import Picture, pictures_of

FIGURES = "outputs/heads"  # below the root


def first_map(outputs: Path) -> str:
    shi = result(outputs, "box/stress_shi")
    floor = stated(result(outputs, "box/04_evaluation"), SHI, "mae", "all-blurred")
    return (
        f"the network in the package has a mean absolute error of {stated(shi, SHI, 'mae')} on {photos(shi, SHI)} test "
        f"photos of Shi et al., where a map that calls everything blurred has {floor}."
    )


def data(outputs: Path) -> str:
    found = result(outputs, "cpu/01_data")
    share, other = (stated(found, f"shi-{split}", "blurred-share", "all-blurred") for split in ("dutlab100", "last100"))
    common = found["values"][f"{SHI}/last100/shared-test-photographs"]
    return (
        f"on average {share} of a test photo of Shi et al. is blurred (list dutlab100; {other} on last100, "
        f"{common:.0f} of 100 photos are on both), so calling everything blurred scores F "
        f"{stated(found, SHI, 'max-f-blur', 'all-blurred')}."
    )


def training(outputs: Path) -> str:
    found = result(outputs, "cpu/03_training")
    iterations, first, last, seconds = (
        found["values"][find(found, SHI, metric, OURS)]
        for metric in ("iterations", "loss-first", "loss-last", "training-seconds")
    )
    threads = found["stamp"]["threads"]
    cores = "one core" if threads == 1 else f"{threads} cores"
    return (
        f"in {iterations:,.0f} iterations on {photos(found, SHI)} photos, {seconds / 60:.0f} minutes on {cores} "
        f"without a GPU, the loss per map fell from {first:.2f} to {last:.2f} (means of 50 iterations)."
    )


def evaluation(outputs: Path) -> str:
    shi = result(outputs, "box/stress_shi")
    mae, f, auc = (stated(shi, SHI, metric) for metric in ("mae", "max-f-focus", "auc"))
    return (
        f"on {photos(shi, SHI)} test photos of Shi et al. the network in the package has a mean absolute error of "
        f"{mae}, a max F of {f} (in-focus pixels positive) and an AUC of {auc} (± standard error)."
    )


def protocols(outputs: Path) -> str:
    found = result(outputs, "cpu/05a_protocols")
    scores = [
        value
        for key, value in found["values"].items()
        if key.startswith("shi-maps61/hifst/") and "f-" in key and "iou" not in key and not key.endswith("-se")
    ]
    return (
        f"the same published maps of HiFST ({photos(found, 'shi-maps61')} photos) have {len(scores)} F-measures, from "
        f"{min(scores):.3f} to {max(scores):.3f}: it depends on the protocol."
    )


def auc_axis(outputs: Path) -> str:
    found, axis = result(outputs, "cpu/05a_protocols"), result(outputs, "cpu/05b_what_auc_means")
    share = found["values"]["shi-maps61/all-blurred/share-blur"]
    return (
        f"the published maps of HiFST ({photos(found, 'shi-maps61')} photos) have an ordinary AUC of "
        f"{stated(found, 'shi-maps61', 'auc', 'hifst')}, and {stated(axis, 'shi-maps61', 'auc-paper-blur', 'hifst')} "
        f"on the axis that fits the paper, where a perfect map has {auc_paper_ceiling(share):.3f}; Table 1 prints "
        f"{TABLE_1['shi', 'auc', 'hifst']}."
    )


def converted(outputs: Path) -> str:
    ordinary = result(outputs, "cpu/05c_table_1_converted")["values"]["table-1-shi/defusionnet/auc-converted"]
    bounds = conversion.convert()["shi", "defusionnet"]
    return (
        f"the paper's AUC of {TABLE_1['shi', 'auc', 'defusionnet']} for DeFusionNet on Shi's photos is probably an "
        f"ordinary AUC of {ordinary:.3f} ({bounds.low:.2f} to {bounds.high:.2f} if the blurred share is wrong by 0.02)."
    )


def status(outputs: Path) -> str:
    row = claims.tally_rows(claims.load())["all"]
    return (
        f"of {row['number']} numbers and figures of the paper {row['reproduced']} are reproduced and {row['differs']} "
        f"differ; {row['needs data']} need photos that could not be obtained, and {row['needs a GPU']} a GPU"
        f"{not_attempted(row)}. The outputs below are of the stored results on real photos."
    )


def table_1(outputs: Path) -> str:
    found = result(outputs, "cpu/07_table_1")
    best = max(classical_methods(found, SHI), key=lambda method: found["values"][f"{SHI}/{method}/auc"])
    return (
        f"on {photos(found, SHI)} photos the best classical method ({best}) has an AUC of {auc_of(found, best)} and "
        f"{network_words(found, outputs)} {auc_of(found, OURS)}. Trained on the same budget, DeFusionNet has "
        f"{auc_of(found, f'{OURS}+budget')} and its predecessor without CAM and FAM {auc_of(found, 'cvpr19-compact')}."
    )


def other_photos(outputs: Path) -> str:
    stated_split, found = claims.PHOTOS["shi"], result(outputs, "cpu-last100/07b_other_photos")
    other = result(outputs, "cpu-szu/07b_other_photos")
    best, there = (
        max(classical_methods(content, dataset), key=lambda method: content["values"][f"{dataset}/{method}/auc"])
        for content, dataset in ((found, stated_split), (other, "szu"))
    )
    records = claims.assigned(claims.load())
    columns = ("mae", "f", "auc")
    measured = [name for name in BASELINES if f"{stated_split}/{name}/auc" in found["values"]]
    in_paper = [name for name in measured if ("shi", "f", name) in TABLE_1]
    statuses = [records[f"table-1/shi/{column}/{method}"].status for column in columns for method in in_paper]
    return (
        f"on {photos(found, stated_split)} photos of the split that the paper's text states ({stated_split}) the best "
        f"classical method ({best}) has an AUC of {auc_of(found, best, stated_split)}, on {SHI} "
        f"{auc_of(result(outputs, 'cpu/07_table_1'), best)}. Of {len(statuses)} numbers that the paper prints for "
        f"{len(in_paper)} of the methods, {statuses.count('reproduced')} are reproduced. On "
        f"{photos(other, 'szu')} photos of another data set (SZU-BD, `outputs/cpu-szu/`) the best of them ({there}) "
        f"has {auc_of(other, there, 'szu')}."
    )


def ablations(outputs: Path) -> str:
    found = result(outputs, "cpu/08_ablations")
    given, row = found["stamp"]["parameters"], ablation(found, "nocam+nofam", "mae")
    return (
        f"without CAM and FAM the mean absolute error changes by {signed(row.difference)} (95 % interval "
        f"{signed(row.low)} to {signed(row.high)}, {len(given['seeds'])} seeds, {photos(found, SHI)} photos). "
        f"Budget: {samples(found):,} samples at {given['size']} pixels, which decides nothing about a full training."
    )


def attention(outputs: Path) -> str:
    found, figures = result(outputs, "cpu/09_channel_attention"), outputs / "cpu/figures"
    changes = ("average weight of each channel", "same weight for all channels")
    average, same = (
        f"{signed(each.difference, 4)} (95 % interval {signed(each.low, 4)} to {signed(each.high, 4)})"
        for each in (attention_change(figures, change, "as trained") for change in changes)
    )
    return (
        f"where each channel has its average weight for every photo, the mean absolute error changes by {average}; "
        f"with equal weights for all channels by {same}, {photos(found, SHI)} photos at "
        f"{found['stamp']['parameters']['size']} pixels. Modules that give every channel the weight 0.5 for every "
        f"photo: {len(inactive_cams(figures))} of {len(CAMS)}. Measured on {network_words(found, outputs)}."
    )


def efficiency(outputs: Path) -> str:
    found = result(outputs, "cpu/10_efficiency")
    values, stamp = found["values"], found["stamp"]
    side = stamp["parameters"]["probe_size"]
    here = f"random-{side}x{side}/defusionnet-compact+fp32+stride2"
    low, high = (values[f"{here}/{end}-quartile-seconds"] for end in ("lower", "upper"))
    return (
        f"one image of {side} x {side} pixels takes {values[f'{here}/seconds']:.3f} s in single precision on "
        f"{stamp['threads']} CPU thread{'s' * (stamp['threads'] > 1)} (quartiles {low:.3f} to {high:.3f}) with the "
        f"network in the package, one of 320 x 320 takes {values['random-320x320/defusionnet/seconds']:.2f} s with the "
        f"reference network; the paper states {TIMINGS['test-320x320'].value} s on a GPU. (The images are noise: times "
        "do not depend on what they show.)"
    )


def failures(outputs: Path) -> str:
    shi = result(outputs, "box/stress_shi")
    plain, noisy = (stated(shi, SHI, metric) for metric in ("mae", "mae-noise-20"))
    half = stated(shi, "half-and-half", "mae")
    copied = is_shipped(result(outputs, "cpu/11_where_it_fails"), outputs)
    of_copy = "" if copied else " (The executed copy is of the network that was in the package before.)"
    return (
        f"of photos that are sharp everywhere the network in the package calls {stated(shi, 'sharp', 'blurred-share')} "
        f"of the pixels blurred; its mean absolute error is {half} where one half of a photo is blurred, {noisy} with "
        f"noise of 20 levels on Shi's {photos(shi, SHI)} test photos, and {plain} without.{of_copy}"
    )


def own_maps(outputs: Path) -> str:
    found = result(outputs, "cpu/12_own_maps")
    example, ours = (auc_of(found, method) for method in ("gradient-energy", OURS))
    return (
        f"the example, maps of the energy of fine detail, has an AUC of {example} on {photos(found, SHI)} test photos "
        f"of Shi's set; the network in the package has {ours} there."
    )


def own_photographs(outputs: Path) -> str:
    found = result(outputs, "box/verdict")
    number, values = photos(found, SHI), found["values"]
    sharp, blurred = (
        counted(values[find(found, dataset, "out-of-focus", OURS)], number) for dataset in (SHI, f"{SHI}-blurred")
    )
    return (
        f'the verdict "out of focus" is given to {sharp} test photos with a sharp subject, and to {blurred} of the '
        f"same photos blurred everywhere by a radius of {found['stamp']['radius']} pixels."
    )


def counted(share: float, number: int) -> str:
    """Write a share as a count, "1 of 100 (95 % interval 0 to 5 %)", with Wilson's interval."""
    count = round(share * number)
    low, high = stats.binomtest(count, number).proportion_ci(method="wilson")
    return f"{count} of {number} (95 % interval {100 * low:.0f} to {100 * high:.0f} %)"


# {notebook: (what its head says, a result file, and the section of its executed copies that has the key figure)}.
HEADS: dict[str, tuple[Callable[[Path], str] | str, str, str]] = {
    "00_first_map": (first_map, "box/04_evaluation", "The row of Table 1"),
    "01_data": (data, "cpu/01_data", "Shi's 704 photos, and two ways to choose 100 of them"),
    "02_network": ("this notebook explains the network and measures no quality", "", ""),
    "03_training": (training, "cpu/03_training", "The run"),
    "04_evaluation": (evaluation, "box/04_evaluation", "Curves (Figures 8-10)"),
    "05a_protocols": (protocols, "cpu/05a_protocols", "2. Many protocols"),
    "05b_what_auc_means": (auc_axis, "cpu/05b_what_auc_means", "3. A ROC curve on another axis"),
    "05c_table_1_converted": (converted, "cpu/05c_table_1_converted", "2. The conversion"),
    "06_claims": (status, "", ""),
    "07_table_1": (table_1, "cpu/07_table_1", "Curves (Figures 8-10)"),
    "07b_other_photos": (other_photos, "cpu-last100/07b_other_photos", "What carries over?"),
    "08_ablations": (ablations, "cpu/08_ablations", "Table 2 and Table 3, with the spread over seeds"),
    "09_channel_attention": (attention, "cpu/09_channel_attention", "Do the weights matter?"),
    "10_efficiency": (efficiency, "cpu/10_efficiency", "Time for one photo"),
    "11_where_it_fails": (failures, "cpu/11_where_it_fails", "Stress suite"),
    "12_own_maps": (own_maps, "cpu/12_own_maps", "Curves"),
    "13_own_photographs": (own_photographs, "box/verdict", ""),
    "14_explorer": ("the panels need a live kernel", "", ""),
}


def head(root: Path, notebook: str, page: str) -> str:
    """Return what is between the marks of a notebook's first cell; links start at `page`, a path below `root`."""
    says, name, section = HEADS[notebook]
    if isinstance(says, str):
        return f"**On real photos:** no run is stored, because {says}.\n"
    text = f"**On real photos:** {says(root / 'outputs')}\n"
    if not name:
        return text
    profile, _, stem = name.partition("/")
    executed = executed_copy(result(root / "outputs", name), root / "outputs")
    path = executed or root / f"outputs/{profile}/results/{stem}.json"
    link = f"[{profile}/{path.name}]({posixpath.relpath(path.relative_to(root), posixpath.dirname(page))})"
    if executed is None:
        return f"{text}The numbers are in {link}; no executed copy is stored.\n"
    text += f"See the section *{section}* of the executed copy: {link}.\n"
    if page.startswith("notebooks/") and (shown := key_figure(executed, section)):
        text += f"\n![{shown.caption or section}](../{FIGURES}/{notebook}.png)\n"
    return text


def key_figure(executed: Path | None, section: str) -> Picture | None:
    """Return the last plot in a section of an executed copy; None where there are only photos or tables, or no copy."""
    if executed is None:
        return None
    plots, current = [], ""
    for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            titles = [line[3:] for line in "".join(cell["source"]).splitlines() if line.startswith("## ")]
            current = titles[-1] if titles else current
        elif current == section:
            plots += [each for each in pictures_of(executed.stem, cell) if each.kind == "png"]
    return plots[-1] if plots else None


def figures(root: Path) -> dict[Path, bytes]:
    """Return the key figures of the notebooks that have one, {path: PNG}."""
    found = {
        notebook: key_figure(executed_copy(result(root / "outputs", name), root / "outputs"), section)
        for notebook, (_, name, section) in HEADS.items()
        if section
    }
    return {root / FIGURES / f"{notebook}.png": figure.content for notebook, figure in found.items() if figure}


def written(root: Path) -> dict[Path, str]:
    """Return the stored notebooks and executed copies whose first cell has the marks, {path: content with its head}.

    The words of a copy that is not stale are those of its notebook.
    """
    found = {}
    for path in [*(root / "notebooks").glob("*.ipynb"), *stored(root)]:
        original = root / "notebooks" / path.name
        if path == original or is_stale(path, original.parent):
            notebook = json.loads(path.read_text(encoding="utf-8"))
        else:
            notebook = with_words_of(path, original)
        first = notebook["cells"][0]
        source = "".join(first["source"])
        if path.stem in HEADS and BEGIN in source:
            text = rendered(source, head(root, path.stem, path.relative_to(root).as_posix()))
            first["source"] = text.splitlines(keepends=True)
            found[path] = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    return found


if __name__ == "__main__":
    pages = {path: text.encode() for path, text in written(project_root()).items()}
    for path, content in (pages | figures(project_root())).items():
        write_atomically(path, content)
