"""The README keeps its promises: its commands run, its numbers are those of the result files, its links lead somewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from minimal_notebook import write_notebook
from PIL import Image

from defusion_lib.apps.cli import main
from defusion_lib.data.datasets import open_dataset
from defusion_lib.data.synthetic import open_synthetic
from tools import graph, render_readme
from tools.render_card import cores_of
from tools.render_results import BEGIN, END, rendered

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in ("README.md", "outputs/README.md", "outputs/FINDINGS.md", "params/README.md", "notebooks/README.md")
}
README = PAGES["README.md"]


def blocks(language, page):
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [
    line.split("#")[0].strip() for page in PAGES.values() for block in blocks("sh", page) for line in block.splitlines()
]


MAP, SCORE, TRAIN = (
    f".venv/bin/defusion {rest}"
    for rest in ("map my_photographs", "score my_maps --data synthetic", "train --root my_data")
)
JOB = ".venv/bin/python -m tools.train cpu 08_ablations full@seed0"


@pytest.fixture
def photograph(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "my.jpg")
    return tmp_path / "my.jpg"


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_make_commands_are_targets(command):
    """What they would do is asked, not done: this test is part of one of them."""
    asked = subprocess.run(["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True)
    assert asked.returncode == 0 and asked.stdout, asked.stderr


def test_the_training_alone_is_one_of_its_profile():
    _, _, module, profile, notebook, name = JOB.split()
    assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
    assert name in graph.trainings(ROOT / f"notebooks/{notebook}.ipynb", profile)


def test_every_shell_command_is_tested():
    others = [command for command in COMMANDS if not command.startswith("make ")]
    assert others == [MAP, SCORE, TRAIN, JOB]


def in_process(command, folder, monkeypatch, *more):
    """Run a command `.venv/bin/defusion ...` of the README from a folder."""
    monkeypatch.chdir(folder)
    result = CliRunner().invoke(main, [*command.split()[1:], *more])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.slow
def test_papermill_maps_a_photograph_of_ones_own(photograph):
    """The command in the first cell of notebook 00, with a smaller size."""
    (command,) = re.findall(r"papermill notebooks/00\S+ .*(?=\\n)", (ROOT / "notebooks/00_first_map.ipynb").read_text())
    arguments = [str(ROOT / word) if word.startswith("notebooks/") else word for word in command.split()[1:]]
    small = ["-p", "size", "32", "--no-progress-bar", "--execution-timeout", "300"]
    ran = subprocess.run(
        [sys.executable, "-m", "papermill", *arguments, *small], cwd=photograph.parent, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    defocus = Image.open(photograph.with_name("my_defocus.png"))
    assert (defocus.size, defocus.mode) == ((64, 48), "L")


@pytest.mark.slow
def test_a_folder_is_mapped(photograph, monkeypatch):
    folder = photograph.parent / "my_photographs"
    folder.mkdir()
    shutil.copy(photograph, folder)
    (folder / "broken.png").write_bytes(b"no picture")
    result = in_process(MAP, folder.parent, monkeypatch, "--size", "64")
    assert result.exit_code == 1 and "broken.png" in result.stderr
    made = photograph.parent / "my_photographs_defocus"
    assert Image.open(made / "my.jpg_defocus.png").size == (64, 48)
    assert (made / "contact_sheet_001.png").is_file()
    assert sorted(path.name for path in folder.iterdir()) == ["broken.png", "my.jpg"]


@pytest.mark.slow
def test_a_method_gets_its_row(tmp_path, monkeypatch):
    (tmp_path / "my_maps").mkdir()
    for photo in open_dataset("synthetic", "test", count=2):
        Image.fromarray((200 * photo.mask).astype(np.uint8)).save(tmp_path / f"my_maps/{photo.name}.png")
    result = in_process(SCORE, tmp_path, monkeypatch, "--count", "2", "--against", "jnb")
    assert result.exit_code == 0, result.output
    assert "my_maps" in (tmp_path / "my_maps_scores/rows.md").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_network_is_trained_and_used(tmp_path, monkeypatch):
    """With stages of a few iterations instead of an hour."""
    monkeypatch.setattr("defusion_lib.experiments.training_run.STAGES", {"cpu": ((4, 32, 2), (2, 48, 1))})
    for photo in open_synthetic(5, (48, 64)):
        for folder, picture in (("my_data", photo.image), ("my_data/masks", (255 * photo.mask).astype(np.uint8))):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / f"{folder}/{photo.name}.png")
    result = in_process(TRAIN, tmp_path, monkeypatch)
    assert result.exit_code == 0, result.output
    (network,) = (tmp_path / "trained").rglob("network.safetensors")
    result = in_process(f"{MAP.rpartition(' ')[0]} my_data --network {network} --size 64", tmp_path, monkeypatch)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "my_data_defocus").glob("*_defocus.png"))) == 5


@pytest.mark.slow
def test_python_block_runs(photograph):
    (block,) = blocks("python", README)
    check = (
        "\nassert defocus.shape == (48, 64) and defocus.dtype == 'float32' and 0 <= defocus.min() <= defocus.max() <= 1"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", block + check],
        cwd=photograph.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]


@pytest.mark.slow
def test_numbers_are_those_of_the_result_files():
    """If this fails, run `python -m tools.render_readme`."""
    for path, make in render_readme.makers().items():
        assert path.read_text(encoding="utf-8") == make()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("result", "page"),
    [
        *((f"{profile}/results/04_evaluation", "outputs/README.md") for profile in render_readme.EVALUATED),
        ("cpu/results/08_ablations", "outputs/README.md"),
        ("cpu/results/07_table_1", "outputs/README.md"),
        ("box/results/stress_shi", "README.md"),
        ("box/results/stress_szu", "README.md"),
        ("box/results/stress_szu", "defusion_lib/shipped/README.md"),
        ("cpu/results/stress_shi", "defusion_lib/shipped/README.md"),
        ("box/results/stress_shi", "outputs/FINDINGS.md"),
        ("cpu/results/09_channel_attention", "outputs/FINDINGS.md"),
    ],
)
def test_changed_number_is_noticed(result, page, tmp_path, monkeypatch):
    shutil.copytree(
        ROOT / "outputs", tmp_path / "outputs", ignore=shutil.ignore_patterns("*.ipynb", "*.png", "weights")
    )
    shutil.copy(ROOT / "README.md", tmp_path)
    monkeypatch.setattr(render_readme, "project_root", lambda: tmp_path)

    makers = render_readme.makers()
    make = makers.get(tmp_path / page) or makers[ROOT / page]
    before = make()
    changed = tmp_path / f"outputs/{result}.json"
    numbers = changed.read_text(encoding="utf-8")
    third = re.compile(r'(?<=compact)(\S*/mae": 0\.\d\d)(\d)')
    changed.write_text(third.sub(lambda found: f"{found[1]}{9 - int(found[2])}", numbers), encoding="utf-8")
    assert make() != before


def test_results_that_are_older_than_their_parameters_are_named(tmp_path):
    given = {
        "03_training": "stages: [[9, 96, 4]]\nbackbone: imagenet\n",
        "04_evaluation": "size: 320\n",
        "10_none": "a: 1\n",
    }
    used = {"03_training": {"stages": [[9, 96, 4]], "backbone": "vgg16.safetensors"}, "04_evaluation": {"size": 320}}
    (tmp_path / "params/cpu").mkdir(parents=True)
    (tmp_path / "outputs/cpu/results").mkdir(parents=True)
    for name, text in given.items():
        (tmp_path / f"params/cpu/{name}.yaml").write_text(text)

    def store(**more):
        for name, parameters in (used | more).items():
            (tmp_path / f"outputs/cpu/results/{name}.json").write_text(
                json.dumps({"stamp": {"parameters": parameters}})
            )
        return render_readme.outdated(tmp_path)

    assert store() == {}
    assert store(**{"03_training": {"backbone": "imagenet"}, "04_evaluation": {"size": 160}}) == {"cpu": ["03", "04"]}
    # What params/ does not say is the notebook's default.
    notebook = write_notebook(tmp_path / "notebooks/04_evaluation.ipynb")
    used["04_evaluation"] |= {"seed": 0, "rates": [0.5]}
    assert store() == {}
    text = notebook.read_text(encoding="utf-8")
    notebook.write_text(text.replace("seed = 0", "seed = 1"), encoding="utf-8")
    assert store() == {"cpu": ["04"]}


def test_the_card_says_whether_most_minutes_are_of_one_core():
    stretches = [{"seconds": 60.0, "threads": 2}, {"seconds": 50.0, "threads": 1}]
    assert cores_of(stretches) == " on"
    assert cores_of([*stretches, {"seconds": 20.0, "threads": 1}]) == ", most of them on one core of"


def test_page_without_marks_is_named():
    with pytest.raises(ValueError, match="no place for results"):
        rendered(README.replace(END, ""), "")
    assert BEGIN in README


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_exist(page):
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", PAGES[page])
    assert targets and all(((ROOT / page).parent / target).exists() for target in targets)


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


def test_every_notebook_is_listed():
    listed = set(re.findall(r"\((\d[^/)]+\.ipynb)\)", PAGES["notebooks/README.md"]))
    assert listed == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
