"""Parameters are checked, results are stamped, and nothing is left half written."""

import base64
import dataclasses
import errno
import json
import os
import random

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from test_figures import smallest_text
from tiny import PARAMETERS, write_notebook

from defusion_lib import runs
from defusion_lib.data import PhotoSet
from defusion_lib.figures import text_size

CELL = """\
# Parameters
profile = "quick"      # folder under outputs/
seed = 0               # of every random number
size = 64              # pixels a side
rate = 0.1             # learning rate
heads = "compact"      # or "radf"
resume = False         # from the last checkpoint
image = None           # one's own photograph
seeds = [0, 1]         # of repeated runs
stages = [[10, 32, 4]] # iterations, size, batch
"""
LIMITS = {"size": (32, 1024), "rate": (0, None), "heads": ("radf", "compact"), "seeds": (0, 9)}


def notebook(*cells):
    """The globals of a kernel that ran these cells after the parameters cell."""
    namespace = {"In": ["", CELL, *cells]}
    for cell in namespace["In"]:
        exec(cell, namespace)
    return namespace


def injected(lines):
    return notebook("# Parameters\n" + lines)


def start(namespace, **limits):
    return runs.start("03_training", namespace, limits=LIMITS | limits)


@pytest.fixture
def run(outputs, capsys):
    run = start(notebook())
    capsys.readouterr()
    return run


def test_effective_parameters_are_frozen():
    parameters = start(injected("size = 128\nrate = 1\nseeds = [3, 4, 5]")).parameters
    assert dataclasses.asdict(parameters) == {
        "profile": "quick",
        "seed": 0,
        "size": 128,
        "rate": 1.0,
        "heads": "compact",
        "resume": False,
        "image": None,
        "seeds": (3, 4, 5),
        "stages": ((10, 32, 4),),
    }
    assert isinstance(parameters.rate, float)
    with pytest.raises(dataclasses.FrozenInstanceError):
        parameters.size = 1


def test_print_shows_parameters_and_changes_and_no_folder(capsys, tmp_path):
    photograph = tmp_path / "far" / "my.jpg"
    run = start(injected(f"size = 128\nimage = {str(photograph)!r}"))
    printed = capsys.readouterr().out
    assert printed == (
        "03_training: profile 'quick', seed 0, size 128, rate 0.1, heads 'compact', resume False,\n"
        "  image '…/my.jpg', seeds [0, 1], stages [[10, 32, 4]]\n"
        "  changed: size from 64 to 128\n"
        "  changed: image from None to '…/my.jpg'\n"
    )
    assert run.parameters.image == str(photograph)
    assert str(tmp_path) not in json.dumps(run.stamp)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "sise = 128",
            r'"sise" is no parameter of 03_training. Did you mean "size"\? Valid names: profile, seed,',
        ),
        ("zzz = 128", r'"zzz" is no parameter of 03_training. Valid names: profile, .*, seeds, stages\.'),
        ("size = '128'", r"size of 03_training must be an integer \(default 64\), not '128'"),
        ("size = 64.5", "must be an integer"),
        ("size = True", "must be an integer"),
        ("size = None", "must be an integer .* not None"),
        ("resume = 1", r"must be True or False \(default False\), not 1"),
        ("rate = '1e-8'", "must be a number .* YAML reads 1e-8 as text: write 1.0e-8"),
        ("rate = True", "must be a number .* not True"),
        ("rate = float('nan')", "must be a finite number"),
        ("heads = 3", "must be text"),
        ("seeds = 3", r"must be a list \(default \[0, 1\]\), not 3"),
        ("seeds = [1, 'two']", "seeds of 03_training, item 1 must be an integer"),
        ("stages = [[10, 32, 'four']]", "item 0, item 2 must be an integer"),
        ("image = {}", "image of 03_training must be text, a number or a list"),
        ("size = 31", "size of 03_training must be 32 to 1024, not 31"),
        ("size = 1025", "must be 32 to 1024, not 1025"),
        ("rate = -0.1", "must be at least 0, not -0.1"),
        ("heads = 'wide'", "must be one of 'radf', 'compact', not 'wide'"),
        ("seeds = [0, 10]", "must be 0 to 9, not 10"),
        ("seed = -1", "seed of 03_training must be 0 to"),
        ("profile = '../x'", "profile of 03_training names a folder"),
    ],
)
def test_a_bad_parameter_stops_the_run_with_one_sentence(line, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        start(injected(line))
    assert "\n" not in str(caught.value)


def test_limits_accept_their_ends():
    for value in (32, 1024):
        assert start(injected(f"size = {value}")).parameters.size == value


def test_limits_of_a_name_that_is_no_parameter_are_refused():
    with pytest.raises(ValueError, match='Limits are set for "sise"'):
        start(notebook(), sise=(0, 1))


def test_every_parameter_replaced_is_still_a_change():
    everything = CELL.replace("64", "96").replace("0.1", "0.2")
    bare = "\n".join(line.partition("#")[0].rstrip() for line in everything.splitlines()[1:])
    stamp = start(injected(bare)).stamp
    assert stamp["overridden"] == ["size", "rate"]
    assert (stamp["defaults"]["size"], stamp["parameters"]["size"]) == (64, 96)


def test_a_value_with_a_hash_sign_is_no_comment():
    assert start(injected("image = 'photo #3.jpg'")).stamp["overridden"] == ["image"]


def test_rerun_in_a_notebook_takes_the_edited_cell():
    edited = CELL.replace("size = 64 ", "size = 80 ") + "batch = 4  # photographs at once\n"
    namespace = notebook("# Parameters\nsize = 128", "loss = 3", edited, "best = 0.25")
    run = start(namespace)
    assert run.parameters.size == 80 and run.parameters.batch == 4
    assert run.stamp["overridden"] == []


def test_a_parameter_that_was_removed_from_the_cell_is_forgotten():
    namespace = notebook("# Parameters\nbatch = 4", CELL)
    namespace["In"][1] = CELL + "batch = 2  # photographs at once\n"
    assert "batch" not in start(namespace).stamp["parameters"]


def test_rerun_of_a_notebook_that_papermill_made():
    again = "# Parameters\nsize = 128"
    run = start(notebook(again, "loss = 3", CELL, again, "best = 0.25"))
    assert run.stamp["overridden"] == ["size"]


def test_without_history_the_notebook_itself_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_notebook(tmp_path / "00-tiny.ipynb")
    namespace = {"In": [""]}
    exec(PARAMETERS, namespace)
    assert runs.start("00-tiny", namespace).stamp["overridden"] == []
    namespace["size"] = 8
    assert runs.start("00-tiny", namespace).stamp["overridden"] == ["size"]


def test_no_parameters_cell():
    with pytest.raises(ValueError, match="first line must be `# Parameters`"):
        runs.start("03_training", {"In": ["", "size = 3"], "size": 3})
    with pytest.raises(ValueError, match="run the parameters cell again"):
        runs.start("03_training", {"In": ["", CELL], "profile": "quick"})


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("half = 64 // 2", "half is computed"),
        ("half = min(3, 4)", "half is computed"),
        ("half: int = 32", "must be `name = value`"),
        ("half += 1", "must be `name = value`"),
        ("import os", "must be `name = value`"),
        ("half, third = 2, 3", "must be `name = value`"),
        ("half = {}", "half is a dict"),
        ("_half = 2", "without a leading underscore"),
        ("size = 3", "must be named once"),
    ],
)
def test_a_parameters_cell_of_another_form_is_refused(line, sentence):
    with pytest.raises(ValueError, match=sentence):
        runs.read_parameters(CELL + line)


def test_profile_comes_first():
    with pytest.raises(ValueError, match="first parameter"):
        runs.read_parameters("seed = 0\nprofile = 'quick'")


def test_seed_fixes_every_generator():
    def draw(seed):
        start(injected(f"seed = {seed}"))
        return random.random(), np.random.rand(), torch.rand(1).item()

    first = draw(5)
    assert first == draw(5)
    assert all(a != b for a, b in zip(first, draw(6)))


def test_threads_are_the_same_everywhere(monkeypatch):
    torch.set_num_threads(1)
    assert start(notebook()).stamp["threads"] == 2
    monkeypatch.setenv("DEFUSION_THREADS", "1")
    assert start(notebook()).stamp["threads"] == 1


def test_torch_is_deterministic_on_cpu():
    torch.use_deterministic_algorithms(False)
    assert start(notebook()).device.type == "cuda" or torch.are_deterministic_algorithms_enabled()


def test_results_are_stamped(run, outputs):
    photos = PhotoSet("synthetic", ["a", "b"], None)
    run.note(backbone="imagenet")
    run.results(
        {"synthetic/defusionnet+o1/max-f-blur@seed1-std": np.float32(0.5), "dut/x/parameters": 3}, data=photos
    )
    written = json.loads((outputs / "quick/results/03_training.json").read_text())
    assert written["values"] == {"synthetic/defusionnet+o1/max-f-blur@seed1-std": 0.5, "dut/x/parameters": 3}
    stamp = written["stamp"]
    assert stamp["backbone"] == "imagenet"
    assert stamp["data"][0]["name"] == "synthetic" and stamp["data"][0]["photographs"] == 2
    assert stamp["versions"]["numpy"] == np.__version__ and stamp["versions"]["torch"] == torch.__version__
    assert {"commit", "device", "started", "seconds", "notebook", "profile", "seed"} <= set(stamp)


def test_stamp_tells_splits_apart(run):
    digests = []
    for stems in (["a", "b"], ["a", "c"]):
        run.results({}, data=PhotoSet("shi", stems, None))
        digests.append(run.stamp["data"][0]["stems_sha256"])
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    "key", ["dut/mae", "dut/jnb/mae/x", "Dut/jnb/mae", "dut/jnb/max f", "dut//mae", "dut/jnb/mae@1"]
)
def test_a_result_key_of_another_form_is_refused(run, key, outputs):
    with pytest.raises(ValueError, match="dataset/method/metric"):
        run.results({key: 1})
    assert not outputs.exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, "0.3", True, torch.tensor(float("nan"))])
def test_a_result_that_is_no_finite_number_is_refused(run, value, outputs):
    with pytest.raises(ValueError, match="dut/jnb/mae must be a finite number"):
        run.results({"dut/jnb/mae": value})
    assert not outputs.exists()


CAPTION = "The loss of each iteration, which falls."


def test_figure_keeps_its_arrays_and_is_closed(run, outputs):
    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    assert run.figure(figure, "loss", CAPTION, loss=[3.0, 2.0]) is None
    assert not plt.fignum_exists(figure.number)
    with np.load(outputs / "quick/figures/loss.npz") as stored:
        np.testing.assert_array_equal(stored["loss"], [3.0, 2.0])
        assert json.loads(str(stored["stamp"]))["notebook"] == "03_training"
    assert (outputs / "quick/figures/loss.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "arrays"),
    [("loss", {}), ("a/b", {"x": [1]}), ("loss", {"x": [object()]}), ("loss", {"stamp": [1]})],
)
def test_a_figure_without_proper_arrays_is_refused(run, name, arrays, outputs):
    with pytest.raises(ValueError):
        run.figure(plt.figure(), name, CAPTION, **arrays)
    plt.close("all")
    assert not outputs.exists()


def test_a_figure_is_shown_with_its_caption_and_an_alternative_text(run, outputs, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *things: shown.extend(things))
    run.figure(plt.figure(), "loss", CAPTION, loss=[1])
    picture, below = shown
    bundle, facts = picture._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == (outputs / "quick/figures/loss.png").read_bytes()
    assert facts == {"image/png": {"alt": CAPTION}} and bundle["text/plain"] == CAPTION
    assert below.data == f"*Picture:* {CAPTION}"


@pytest.mark.parametrize("caption", ["", "The loss.", CAPTION.rstrip(".")])
def test_a_figure_without_a_sentence_is_refused(run, caption, outputs):
    with pytest.raises(ValueError, match="say in a sentence what there is to see"):
        run.figure(plt.figure(), "loss", caption, loss=[1])
    plt.close("all")
    assert not outputs.exists()


def test_a_figure_can_be_read_on_a_projector(run, outputs):
    figure, axis = plt.subplots(figsize=(20, 3))
    run.figure(figure, "loss", CAPTION, loss=[1])
    assert smallest_text(figure) == text_size(20) > plt.rcParams["font.size"]


def test_finish_names_what_was_written_and_no_folder_of_the_machine(run, capsys):
    run.results({"dut/jnb/mae": 0.25})
    for _ in range(2):
        run.figure(plt.figure(), "loss", CAPTION, loss=[1])
    capsys.readouterr()
    run.finish()
    assert capsys.readouterr().out == (
        "03_training wrote 1 values in outputs/quick/results/03_training.json, "
        "outputs/quick/figures/loss.png\n"
    )


def test_finish_leaves_a_stamp_where_there_are_no_results(run, outputs):
    run.finish()
    written = json.loads((outputs / "quick/results/03_training.json").read_text())
    assert written["values"] == {} and written["stamp"]["notebook"] == "03_training"


def test_a_full_disk_leaves_the_old_file(run, outputs, monkeypatch):
    run.results({"dut/jnb/mae": 0.25})
    old = (outputs / "quick/results/03_training.json").read_bytes()

    def full(self, content):
        with open(self, "wb") as file:
            file.write(content[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match=r"Cannot write outputs/quick/.*No space left.*unchanged") as caught:
        run.results({"dut/jnb/mae": 0.5})
    assert str(outputs) not in str(caught.value)
    monkeypatch.undo()
    assert [p.name for p in (outputs / "quick/results").iterdir()] == ["03_training.json"]
    assert (outputs / "quick/results/03_training.json").read_bytes() == old


def test_a_file_where_a_folder_should_be_is_one_sentence(run, outputs):
    outputs.parent.mkdir(exist_ok=True)
    outputs.write_text("in the way")
    with pytest.raises(OSError, match="Cannot write outputs/quick/results/03_training.json"):
        run.results({"dut/jnb/mae": 0.5})


def test_path_stays_in_the_runs_folder(run, outputs):
    assert run.path("checkpoints/last.pt") == outputs / "quick/checkpoints/last.pt"
    assert (outputs / "quick/checkpoints").is_dir()
    for outside in ("../x", "/x"):
        with pytest.raises(ValueError, match="not inside"):
            run.path(outside)


def test_outputs_lie_in_the_checkout_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("DEFUSION_OUTPUTS")
    monkeypatch.chdir(tmp_path)
    assert runs.outputs_root() == runs.project_root() / "outputs"
    assert (runs.project_root() / "defusion_lib/runs.py").is_file()


def test_shown_paths_are_relative(monkeypatch, tmp_path, outputs):
    monkeypatch.chdir(tmp_path)
    assert runs.shown(outputs / "quick/a.json") == "outputs/quick/a.json"
    assert runs.shown(runs.project_root() / "params/cpu/x.yaml") == "params/cpu/x.yaml"
    assert runs.shown("photos/my.jpg") == "photos/my.jpg"
    assert runs.shown(tmp_path.parent / "elsewhere/my.jpg") == "…/my.jpg"
