"""Parameters are checked, results are stamped, and nothing is left half written."""

import ast
import base64
import dataclasses
import datetime
import errno
import io
import json
import os
import random
import re
import subprocess
import tempfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import yaml
from IPython.core.formatters import DisplayFormatter
from minimal_notebook import PARAMETERS, write_notebook
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_plots import smallest_text

from defusion_lib import paths, runs
from defusion_lib.apps import saved_map
from defusion_lib.data import PhotoSet
from defusion_lib.plots import text_size
from defusion_lib.runs import parameters, provenance
from defusion_lib.runs.pictures import WIDTH, for_screen

ROOT = Path(__file__).resolve().parents[1]

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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("heads: off", 'heads of x must be text .* not False. YAML reads off, no and false as False: write "off" in'),
        ("heads: no", "not False. YAML reads off, no and false"),
        ("heads: Yes", 'not True. YAML reads on, yes and true as True: write "on" in quotes'),
        ("heads: null", "not None. YAML reads null, ~ and an empty value as None: write a value, and text in quotes"),
        ("heads: ~", "YAML reads null, ~ and an empty value as None"),
        ("heads:", "YAML reads null, ~ and an empty value as None"),
        ("heads: 2024", "not 2024. With papermill, .* -r instead of -p: -r heads 2024"),
        ("heads: 1.5", "-r instead of -p: -r heads 1.5"),
        ("heads: 0123", "not 83. .* 0123 is read as 83 and 12:30 as 750"),
        ("heads: 12:30", "not 750. .*YAML: in quotes"),
        ("heads: .nan", "not nan. .* -r heads nan"),
        ("heads: 2024-05-01", 'YAML reads 2024-05-01 as a date: write "2024-05-01" in quotes'),
        ("words: [a, on]", "words of x, item 1 must be text .* not True. YAML reads on, yes and true"),
        ("words: a", r"words of x must be a list .* not 'a'. With papermill, give a list as -y 'words: \[\.\.\.\]'"),
        ("rate: 1e-8", "YAML reads 1e-8 as text: write 1.0e-8"),
        ("rate: 1E-4", "YAML reads 1E-4 as text: write 1.0e-4"),
        ("rate: 1.5e3", r"YAML reads 1.5e3 as text: write 1.5e\+3"),
        ("rate: -2e2", r"YAML reads -2e2 as text: write -2.0e\+2"),
        ("rate: '3'", "not '3'. Write it without quotes"),
        ("size: 0128", "not '0128'. Write it without quotes and without zeros in front"),
        ("size: 1e3", "must be an integer .* not '1e3'.$"),
        ("rate: e5", "must be a number .* not 'e5'.$"),
        ("size: ", "must be an integer .* not None. YAML reads null"),
    ],
)
def test_what_yaml_or_papermill_made_of_a_value_is_said(line, sentence):
    defaults = {"profile": "quick", "heads": "compact", "rate": 0.1, "size": 64, "words": ["a"]}
    with pytest.raises(ValueError, match=sentence) as caught:
        parameters.check_parameters(defaults, yaml.safe_load(line), where="x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("line", ["rate: 1.0e-8", "rate: 1.5e+3", "rate: -2.0e+2", 'heads: "off"', 'heads: "12:30"'])
def test_what_the_hints_tell_to_write_is_read(line):
    parameters.check_parameters({"profile": "quick", "heads": "compact", "rate": 0.1}, yaml.safe_load(line))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("rate: 1e-3", "^Parameter rate of x must be a number, not '1e-3'. YAML reads 1e-3 as text: write 1.0e-3.$"),
        ("rate: '3'", "must be a number, not '3'. Write it without quotes"),
        ("rate: fast", "must be a number, not 'fast'.$"),
        ("rate: on", "must be a number, not True.$"),
        ("rates: [0.1, 1e-3]", "rates of x must be a number, not '1e-3'. YAML reads 1e-3 as text"),
        ("rate: -0.1", "must be at least 0.0, not -0.1"),
        ("mode: 3", "^Parameter mode of x must be one of 'a', 'b', not 3. With papermill, give text .* -r mode 3"),
        ("mode: off", "must be one of 'a', 'b', not False. YAML reads off, no and false as False"),
        ("mode: c", "must be one of 'a', 'b', not 'c'.$"),
    ],
)
def test_limits_hold_where_the_default_is_none(line, sentence):
    defaults = {"profile": "quick", "rate": None, "rates": None, "mode": None}
    limits = {"rate": (0.0, None), "rates": (0.0, None), "mode": ("a", "b")}
    with pytest.raises(ValueError, match=sentence) as caught:
        parameters.check_parameters(defaults, yaml.safe_load(line), limits, "x")
    assert "\n" not in str(caught.value)
    given = {"rate": 0.001, "rates": [1, 0.5], "mode": "b"}
    assert parameters.check_parameters(defaults, given, limits)["rates"] == (1, 0.5)
    assert parameters.check_parameters(defaults, {}, limits) == {"profile": "quick"} | dict.fromkeys(given)


def test_a_date_is_refused_where_any_value_serves():
    with pytest.raises(ValueError, match="image must be text, a number or a list of them"):
        parameters.check_parameters({"profile": "quick", "image": None}, {"image": datetime.date(2024, 5, 1)})


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
        parameters.read_parameters(CELL + line)


def test_profile_comes_first():
    with pytest.raises(ValueError, match="first parameter"):
        parameters.read_parameters("seed = 0\nprofile = 'quick'")


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


@pytest.mark.parametrize("threads", ["abc", "0", "-1", "1.5", "2 ", "٣", "100000", "1e1"])
def test_a_number_of_threads_that_is_none_is_refused(threads, monkeypatch):
    monkeypatch.setenv("DEFUSION_THREADS", threads)
    with pytest.raises(
        ValueError, match="DEFUSION_THREADS is .*: expected a whole number from 1 to 1024; leave it out"
    ):
        start(notebook())


def test_an_empty_number_of_threads_is_left_out(monkeypatch):
    monkeypatch.setenv("DEFUSION_THREADS", "")
    assert start(notebook()).stamp["threads"] == 2


def test_torch_is_deterministic_on_cpu():
    torch.use_deterministic_algorithms(False)
    assert start(notebook()).device.type == "cuda" or torch.are_deterministic_algorithms_enabled()


def test_results_are_stamped(run, outputs):
    photos = PhotoSet("synthetic", ["a", "b"], None)
    run.note(backbone="imagenet")
    run.results({"synthetic/defusionnet+o1/max-f-blur@seed1-std": np.float32(0.5), "dut/x/parameters": 3}, data=photos)
    written = json.loads((outputs / "quick/results/03_training.json").read_text())
    assert written["values"] == {"synthetic/defusionnet+o1/max-f-blur@seed1-std": 0.5, "dut/x/parameters": 3}
    stamp = written["stamp"]
    assert stamp["backbone"] == "imagenet"
    assert stamp["data"][0]["name"] == "synthetic" and stamp["data"][0]["photographs"] == 2
    assert stamp["versions"]["numpy"] == np.__version__ and stamp["versions"]["torch"] == metadata.version("torch")
    assert {"commit", "device", "started", "seconds", "notebook", "profile", "seed"} <= set(stamp)


def test_all_stamps_of_a_run_name_the_commit_that_it_began_with(monkeypatch):
    commits = iter(["old", "new"])
    monkeypatch.setattr(provenance, "_commit", lambda: next(commits))
    run = start(notebook())
    assert [run.stamp["commit"] for _ in range(3)] == ["old"] * 3


def test_the_commit_of_a_stamp_says_whether_more_than_outputs_was_changed(tmp_path, monkeypatch):
    def git(*words):
        words = ["git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr(provenance, "project_root", lambda: tmp_path)
    assert provenance.environment_info()["commit"] is None
    (tmp_path / "outputs").mkdir()
    for path in ("code.py", "outputs/result.json"):
        (tmp_path / path).write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "First")
    head = git("rev-parse", "HEAD")
    assert provenance.environment_info()["commit"] == head
    (tmp_path / "outputs/result.json").write_text("2")
    assert provenance.environment_info()["commit"] == head
    (tmp_path / "code.py").write_text("2")
    assert provenance.environment_info()["commit"] == f"{head}-dirty"


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
    assert not outputs.exists()


def test_a_figure_is_shown_with_its_caption_and_an_alternative_text(run, outputs, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *things: shown.extend(things))
    run.figure(plt.figure(), "loss", CAPTION, loss=[1])
    picture, below = shown
    bundle, facts = picture._repr_mimebundle_()
    content, kind = for_screen((outputs / "quick/figures/loss.png").read_bytes())
    assert base64.b64decode(bundle[f"image/{kind}"]) == content
    assert facts == {f"image/{kind}": {"alt": CAPTION}}
    assert below.data == f"*Picture:* {CAPTION}"


def test_a_figure_stores_its_maps_small(run, outputs):
    run.figure(plt.figure(), "maps", CAPTION, defocus=np.zeros((256, 256), np.uint8))
    with np.load(outputs / "quick/figures/maps.npz") as stored:
        assert stored["defocus"].shape == (128, 128)


def test_a_figure_that_a_cell_displays_has_few_colours_too(monkeypatch, outputs):
    shell = SimpleNamespace(display_formatter=DisplayFormatter())
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    start(notebook())
    figure, axis = plt.subplots(figsize=(20, 3))
    axis.plot([1, 2, 3])
    encode = shell.display_formatter.formatters["image/png"]
    shown = Image.open(io.BytesIO(base64.b64decode(encode(figure))))
    assert shown.mode == "P" and shown.width == WIDTH
    assert encode(plt.figure()) is None


@pytest.mark.parametrize("caption", ["", "The loss.", CAPTION.rstrip(".")])
def test_a_figure_without_a_sentence_is_refused(run, caption, outputs):
    with pytest.raises(ValueError, match="say in a sentence what there is to see"):
        run.figure(plt.figure(), "loss", caption, loss=[1])
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
        "03_training wrote 1 values in outputs/quick/results/03_training.json, outputs/quick/figures/loss.png\n"
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
    assert paths.outputs_root() == paths.project_root() / "outputs"
    assert (paths.project_root() / "defusion_lib/paths.py").is_file()


def test_shown_paths_are_relative(monkeypatch, tmp_path, outputs):
    monkeypatch.chdir(tmp_path)
    assert paths.display_path(outputs / "quick/a.json") == "outputs/quick/a.json"
    assert paths.display_path(paths.project_root() / "params/cpu/x.yaml") == "params/cpu/x.yaml"
    assert paths.display_path("photos/my.jpg") == "photos/my.jpg"
    assert paths.display_path(tmp_path.parent / "elsewhere/my.jpg") == "…/my.jpg"


# ---------------------------------------------------------------------------------------------------- places


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout of its own with the folder notebooks, and beside it a folder of somebody's."""
    root = tmp_path / "project"
    (root / "notebooks").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("defusion_lib.paths.project_root", lambda: root)
    return root


@pytest.mark.parametrize("kernel", ["project", "project/notebooks", "elsewhere"])  # make, Lab or VS Code, papermill
def test_a_path_in_the_checkout_is_found_from_everywhere(project, kernel, monkeypatch):
    for path in ("data/shi", "outputs/cpu/weights/my.safetensors", "my.jpg"):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).touch()
        monkeypatch.chdir(project.parent / kernel)
        assert paths.locate(path) == project / path == paths.locate(Path(path))


@pytest.mark.parametrize("kernel", ["project/notebooks", "elsewhere"])
def test_a_path_in_the_current_folder_is_found(project, kernel, monkeypatch):
    here = project.parent / kernel
    monkeypatch.chdir(here)
    (here / "my.jpg").touch()
    assert paths.locate("my.jpg") == here / "my.jpg"
    assert os.path.samefile(paths.locate("../"), here.parent)


def test_a_path_at_neither_place_names_both(project, monkeypatch):
    monkeypatch.chdir(project / "notebooks")
    with pytest.raises(
        FileNotFoundError,
        match="^There is no data/shi: looked for notebooks/data/shi in the current folder and data/shi in the project's ",
    ) as caught:
        paths.locate("data/shi")
    assert str(project) not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="There is no …/absent.jpg: check"):
        paths.locate("/nowhere/absent.jpg")
    with pytest.raises(FileNotFoundError, match="There is no ~/absent.jpg: check"):
        paths.locate("~/absent.jpg")


def test_two_files_of_one_relative_path_are_not_guessed_between(project, monkeypatch):
    monkeypatch.chdir(project / "notebooks")
    (project / "my.jpg").write_bytes(b"one")
    (project / "notebooks/my.jpg").write_bytes(b"other")
    for new in (False, True):
        with pytest.raises(ValueError, match="my.jpg is both in the current folder and in the project's folder: write"):
            paths.locate("my.jpg", new=new)
    assert paths.locate(str(project / "my.jpg")) == project / "my.jpg"
    (project / "notebooks/my.jpg").unlink()
    (project / "notebooks/my.jpg").symlink_to(project / "my.jpg")
    assert paths.locate("my.jpg").read_bytes() == b"one"


@pytest.mark.parametrize("text", ["./my.jpg", "../notebooks/my.jpg", "."])
def test_a_path_that_begins_with_dots_belongs_to_the_current_folder(text, project, monkeypatch):
    monkeypatch.chdir(project / "notebooks")
    (project / "my.jpg").touch()
    (project / "notebooks/my.jpg").touch()
    assert os.path.samefile(paths.locate(text), text)
    (project / "notebooks/my.jpg").unlink()
    if text != ".":
        with pytest.raises(FileNotFoundError, match="my.jpg in the current folder. Check"):
            paths.locate(text)
        assert paths.locate(text, new=True) == Path.cwd() / text
    (project / ".hidden").touch()
    assert paths.locate(".hidden") == project / ".hidden"


@pytest.mark.parametrize("text", ["~/photos", "~"])
def test_the_home_folder_is_expanded(text, project, monkeypatch):
    home = project.parent / "home"
    (home / "photos").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(project)
    assert paths.locate(text) == home / text.removeprefix("~").strip("/")
    assert paths.locate("~/new", new=True) == home / "new"
    monkeypatch.setenv("DEFUSION_OUTPUTS", "~/out")
    assert paths.outputs_root() == home / "out" and not (project / "~").exists()


def test_an_unknown_home_folder_is_not_found(project, monkeypatch):
    monkeypatch.chdir(project)
    with pytest.raises(FileNotFoundError, match="There is no ~nobody-here/x.jpg"):
        paths.locate("~nobody-here/x.jpg")


def test_words_are_no_paths(project, monkeypatch):
    monkeypatch.chdir(project)
    (project / "shipped").touch()
    assert paths.locate("shipped", "imagenet", "shipped") == "shipped"
    assert paths.locate("shipped") == project / "shipped"
    with pytest.raises(FileNotFoundError, match="There is no imagenet"):
        paths.locate("imagenet", "shipped")


def test_a_path_in_the_outputs_is_looked_for_where_they_are_first(project, tmp_path, monkeypatch):
    elsewhere, path = tmp_path / "scratch", "outputs/box-first/weights/a.safetensors"
    monkeypatch.setenv("DEFUSION_OUTPUTS", str(elsewhere))
    monkeypatch.chdir(project)
    for root in (project / "outputs", elsewhere):  # what is stored in the checkout, then what was made elsewhere
        made = root / path.removeprefix("outputs/")
        made.parent.mkdir(parents=True)
        made.write_text(str(root))
        assert paths.locate(path) == made
    with pytest.raises(FileNotFoundError):
        monkeypatch.chdir(tmp_path)
        paths.locate(f"./{path}")  # in the current folder alone


def test_what_is_new_lies_beside_what_is_found(project, monkeypatch):
    places = {"project": project, "project/notebooks": project, "elsewhere": project.parent / "elsewhere"}
    for kernel, root in places.items():
        monkeypatch.chdir(project.parent / kernel)
        assert paths.locate("maps/new", new=True) == root / "maps/new"
        monkeypatch.setenv("DEFUSION_OUTPUTS", "out")
        assert paths.outputs_root() == root / "out"
    (project / "maps/new").mkdir(parents=True)
    assert paths.locate("maps/new", new=True) == project / "maps/new"


# Calls that a notebook may give a path parameter; `index` looks for the name of a photograph.
LOCATING = {"locate", "map_file", "open_dataset", "index"}
PATHS = {"image", "weights", "backbone", "begin_with", "data_root", "shi_root", "maps_root", "folder", "into", "target"}
PATHS |= {"beside", "pilot", "maps", "learn_root"}
NO_PATHS = {"part", "masks_white", "method"}  # their comments name a file or folder all the same


def unlocated(source, parameters):
    """Calls in a notebook that are given the text of a path parameter."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and ast.unparse(call.func).split(".")[-1] not in LOCATING:
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            given += [value for each in given if isinstance(each, ast.BoolOp) for value in each.values]
            given += [value for each in given if isinstance(each, ast.IfExp) for value in (each.body, each.orelse)]
            found += [ast.unparse(call) for each in given if isinstance(each, ast.Name) and each.id in parameters]
    return found


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_every_path_parameter_of_a_notebook_is_located(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    given = parameters.read_parameters(code[0])
    said = re.findall(r'^(\w+) = "[^"]*"  # .*\b(?:file|folder)\b', code[0], re.MULTILINE)
    assert set(said) - PATHS - NO_PATHS == set()
    paths = PATHS & set(given)
    source = "\n".join(cell for cell in code if "check(" not in cell)
    assert unlocated(source, paths) == []


@pytest.mark.parametrize(
    "line",
    ["read(image)", "f(resolve(image))", "Path(image).stem", "f(x=image)", "f(image or 'x')", "f(image if x else 1)"],
)
def test_a_path_that_is_not_located_is_noticed(line):
    assert unlocated(line, {"image"})
    assert not unlocated("f(g(runs.locate(image, 'x'), photo.image)) if image else open_dataset(image)", {"image"})


# ----------------------------------------------------------------------------------------- what can be written


def test_a_run_is_refused_at_its_start_where_results_cannot_be_written(outputs, capsys, monkeypatch):
    outputs.write_text("in the way")
    with pytest.raises(
        OSError, match=r"Cannot write in outputs/quick \(Not a directory\)\. .*DEFUSION_OUTPUTS"
    ) as caught:
        start(notebook())
    assert "\n" not in str(caught.value) and capsys.readouterr().out == ""
    outputs.unlink()

    def read_only(dir):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(OSError, match=r"Cannot write in outputs/quick \(Read-only file system\)"):
        start(notebook())
    monkeypatch.undo()


def test_a_dangling_link_for_a_folder_is_refused(outputs):
    outputs.symlink_to(outputs.parent / "absent")
    with pytest.raises(OSError, match="Cannot write in outputs/quick"):
        start(notebook())


def test_looking_whether_results_can_be_written_leaves_nothing(outputs):
    start(notebook())
    assert not outputs.exists() and not list(outputs.parent.iterdir())


def test_a_long_name_is_written_whole(tmp_path):
    path = tmp_path / ("я" * 125 + ".png")  # 254 bytes of 255
    paths.write_atomically(path, b"x")
    assert path.read_bytes() == b"x" and list(tmp_path.iterdir()) == [path]


def test_files_of_one_stem_are_replaced_at_once_and_leave_a_part_of_the_users_own(tmp_path):
    own, made = tmp_path / "net.part", [tmp_path / "net.onnx", tmp_path / "net.ts"]
    own.write_text("mine")
    with paths.replacing(made[0]) as first, paths.replacing(made[1]) as second:
        first.write_text("onnx")
        second.write_text("ts")
        assert {path.suffix for path in (first, second)} == {".part"}
    assert [path.read_text() for path in made] == ["onnx", "ts"]
    with pytest.raises(ZeroDivisionError), paths.replacing(own) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert own.read_text() == "mine" and sorted(tmp_path.iterdir()) == sorted([own, *made])


LEVELS = np.full((4, 6), 7, np.uint8)


def test_a_map_lies_beside_its_photograph_and_may_be_made_again(tmp_path):
    path = saved_map.map_file(tmp_path / "my.jpg")
    assert path == tmp_path / "my_defocus.png" and not list(tmp_path.iterdir())
    for value in (1, 2):
        saved_map.write_map(path, LEVELS * value, "my.jpg")
        assert saved_map.map_file(tmp_path / "my.jpg") == path
        np.testing.assert_array_equal(Image.open(path), LEVELS * value)
    assert str(tmp_path).encode() not in path.read_bytes()


@pytest.mark.parametrize("name", ["日本.jpg", "a\nb.jpg", os.fsdecode(b"\xff.jpg"), "ü" * 119 + ".jpg"])
def test_a_map_knows_every_name(tmp_path, name):
    path = saved_map.map_file(tmp_path / name)
    saved_map.write_map(path, LEVELS, name)
    assert saved_map.map_file(tmp_path / name) == path


def users_own(path):
    Image.fromarray(LEVELS).save(path, "png")


def users_jpeg(path):
    Image.fromarray(LEVELS).save(path, "jpeg")


def of_another_program(path):
    facts = PngInfo()
    facts.add_text("Software", "a camera")
    facts.add_text("Source", "my.jpg")
    Image.fromarray(LEVELS).save(path, pnginfo=facts)


def of_the_same_name(path):
    saved_map.write_map(path, LEVELS, "my.png")


def cut(path):
    saved_map.write_map(path, LEVELS, "my.jpg")
    path.write_bytes(path.read_bytes()[:20])


def empty(path):
    path.touch()


@pytest.mark.parametrize("make", [users_own, users_jpeg, of_another_program, of_the_same_name, cut, empty, Path.mkdir])
def test_a_file_that_is_no_map_of_this_photograph_is_never_replaced(tmp_path, make):
    path = tmp_path / "my_defocus.png"
    make(path)
    for target in ("", str(path)):
        with pytest.raises(FileExistsError, match="my_defocus.png exists already and is not a map of my.jpg") as caught:
            saved_map.map_file(tmp_path / "my.jpg", target)
        assert str(tmp_path) not in str(caught.value)
    assert saved_map.map_file(tmp_path / "my.jpg", str(tmp_path / "other.png")) == tmp_path / "other.png"


def test_a_map_never_replaces_its_photograph(tmp_path):
    users_own(tmp_path / "my.png")
    with pytest.raises(FileExistsError, match="exists already"):
        saved_map.map_file(tmp_path / "my.png", str(tmp_path / "my.png"))


@pytest.mark.parametrize("target", ["map.jpg", "maps", "map.png.gz"])
def test_a_map_is_a_png(tmp_path, target):
    with pytest.raises(ValueError, match="The map is written as PNG, but the target is '"):
        saved_map.map_file(tmp_path / "my.jpg", str(tmp_path / target))


def test_a_map_that_cannot_be_written_is_refused_before_it_is_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Cannot write …/map.png \(Not a directory\).*parameter target"):
        saved_map.map_file(tmp_path / "my.jpg", str(tmp_path / "file/map.png"))
    with pytest.raises(OSError, match=r"Cannot write .*_defocus.png \(File name too long\)"):
        saved_map.map_file(tmp_path / ("ü" * 122 + ".jpg"))

    def read_only(dir):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    with pytest.raises(OSError, match=r"Cannot write in … ?\S* \(Read-only file system\).*parameter target"):
        saved_map.map_file(tmp_path / "my.jpg")
    monkeypatch.undo()


def test_a_target_may_lie_in_a_folder_that_is_not_there_yet(tmp_path):
    path = saved_map.map_file(tmp_path / "my.jpg", str(tmp_path / "a/b/map.PNG"))
    saved_map.write_map(path, LEVELS, "my.jpg")
    assert path == tmp_path / "a/b/map.PNG" and path.is_file()
