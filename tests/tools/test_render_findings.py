"""The page of findings: its statistics, and that it is not written where the results no longer show a sentence."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from defusion_lib.evaluation.statistics import PairedContrast
from defusion_lib.experiments import kept, stress
from defusion_lib.experiments.ablations import contrasts
from tools import render_findings
from tools.render_findings import CHAPTERS, ablation, compared, first_weights, seeds

ROOT = Path(__file__).resolve().parents[2]
MAKERS = [make for makers in CHAPTERS.values() for make in makers]


@pytest.fixture
def outputs(tmp_path):
    shutil.copytree(ROOT / "outputs", tmp_path / "outputs", ignore=shutil.ignore_patterns("*.ipynb", "*.png"))
    return tmp_path / "outputs"


def change(path, old, new):
    text = path.read_text(encoding="utf-8")
    changed = re.sub(old, new, text)
    assert changed != text
    path.write_text(changed, encoding="utf-8")


def test_p_values_are_corrected_for_their_number():
    rows = {name: PairedContrast(0.1, 0.0, 0.2, p) for name, p in (("a", 0.02), ("b", 0.0001), ("c", 0.3))}
    cells = [line.split(" | ")[-2:] for line in compared(rows, "what").splitlines()[2:]]
    assert cells == [["0.040", "yes |"], ["< 0.001", "yes |"], ["0.300", "not shown |"]]
    assert "p, corrected for 3" in compared(rows, "what")
    rows["d"] = PairedContrast(0.1, 0.0, 0.2, 0.025)  # times 3, as the smallest of three
    assert "not shown" in compared(rows, "what").splitlines()[2]


def test_seeds_are_of_one_row():
    ours, given = "shi-dutlab100/defusionnet-compact", {"stamp": {"parameters": {"fusion_stride": 1}}}
    given["values"] = {f"{ours}/mae@seed0": 1, f"{ours}+step1/mae@seed0": 2}
    assert (seeds(given, "", "mae"), seeds(given, "step1", "mae")) == ([1], [2])


def test_a_difference_is_that_of_notebook_08():
    rows = ["full", "noffrm", "nocam+nofam", "step1", "step2"]
    spread = dict(zip(rows, (0.001, 0.001, 0.001, 0.001, 0.02)))
    rng = np.random.default_rng(0)
    scores = {row: {"mae": rng.normal(0.1, spread[row], 3).tolist()} for row in rows}
    values = {
        "shi-dutlab100/" + "+".join(["defusionnet-compact", *[row] * (row != "full")]) + f"/mae@seed{seed}": value
        for row in rows
        for seed, value in enumerate(scores[row]["mae"])
    }
    found = ablation({"stamp": {"parameters": {"rows": rows, "fusion_stride": 1}}, "values": values}, "noffrm", "mae")
    expected = contrasts(scores, "full", "mae")["noffrm"]
    assert (found.difference, found.low, found.high) == pytest.approx(expected[:3])


def test_the_first_weights_are_those_of_the_run():
    frozen = first_weights({"recipe": "frozen", "backbone": "shipped"})
    trained = first_weights({"recipe": "blocks-4-5", "backbone": "imagenet"})
    assert frozen == "VGG-16 with the weights of shipped at first, 5 of its 5 blocks fixed"
    assert trained == "VGG-16 with ImageNet's weights at first, 3 of its 5 blocks fixed"


def test_seeds_of_networks_with_a_stride_are_those_of_their_names():
    """The full network of a run at stride 2 is not its row stride1."""
    ours, given = "shi-dutlab100/defusionnet-compact", {"stamp": {"parameters": {"fusion_stride": 2}}}
    given["values"] = {
        f"{ours}/mae@seed0": 1,
        f"{ours}+stride2/mae@seed0": 2,
        f"{ours}+nocam+nofam+stride2/mae@seed0": 3,
    }
    assert (seeds(given, "", "mae"), seeds(given, "nocam+nofam", "mae")) == ([2], [3])


@pytest.mark.parametrize(
    ("number", "result", "old", "new"),
    [
        (2, "cpu/results/05a_protocols", r'(shi-maps61/hifst/auc": )0\.\d', r"\g<1>0.7"),
        (6, "cpu/results/08_ablations", r'(nocam\+nofam\+stride2/mae@seed\d": )0\.', r"\g<1>0.9"),
        (15, "cpu-szu/results/07b_other_photos", r'(szu/ss/auc": )0\.\d', r"\g<1>0.99"),
        (13, "box/results/stress_shi", r'(shi-dutlab100/\S+/mae": )0\.0', r"\g<1>0.9"),
    ],
)
def test_a_sentence_that_no_longer_holds_stops(number, result, old, new, outputs):
    change(outputs / f"{result}.json", old, new)
    with pytest.raises(ValueError, match=rf"no longer show finding {number}, rewrite it: "):
        render_findings.text(number, MAKERS[number - 1](outputs), outputs)


def test_no_advantage_at_the_same_budget_would_stop(outputs):
    """The maps of DeFusionNet are replaced by maps that are blurred where the photo is sharp."""
    path = outputs / "cpu/results/07_table_1/defusionnet-compact+budget@shi-dutlab100.npz"
    kept.write(path, {}, {"counts": kept.read(path)["counts"][:, ::-1]})
    with pytest.raises(ValueError, match="no longer show finding 5, rewrite it: "):
        render_findings.text(5, MAKERS[4](outputs), outputs)


def test_a_difference_to_published_maps_is_of_the_values_of_each_photo(outputs):
    """The network in the package and EFPN change places."""
    ours, efpn = (outputs / f"box/results/{name}.npz" for name in ("stress_szu", "stress_szu-efpn"))
    stress.save(stress.read(efpn), ours)
    shutil.copy(ROOT / "outputs/box/results/stress_szu.npz", efpn)
    with pytest.raises(ValueError, match="no longer show finding 14, rewrite it: "):
        render_findings.text(14, MAKERS[13](outputs), outputs)


def test_findings_are_numbered_and_name_their_sources():
    page = (ROOT / "outputs/FINDINGS.md").read_text(encoding="utf-8")
    numbers = [int(number) for number in re.findall(r"^### (\d+)\. ", page, re.MULTILINE)]
    assert numbers == list(range(1, 1 + len(MAKERS)))
    assert len(re.findall(r"^\*From:\* \[.*\*What would change it:\* [A-Z`]", page, re.MULTILINE)) == len(numbers)


def test_a_dead_module_is_one_without_an_active_unit(tmp_path):
    terms = np.ones((6, 3))
    terms[[1, 4]] = 0
    other = np.zeros((6, 3))
    other[4, 2] = 0.1
    np.savez(tmp_path / "attention_branches.npz", gap=terms, gmp=other)
    assert render_findings.inactive_cams(tmp_path) == ["the deep module of step 1"]
