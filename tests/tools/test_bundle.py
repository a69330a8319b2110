"""A bundle trains without anything but five packages, stops in time, resumes, and evaluates as the notebooks do."""

import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from packaging.requirements import Requirement
from PIL import Image
from safetensors.torch import save_file

from defusion_lib.backbone import VGG16
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.augmentation import STEPS, Augmented, resize_to_square
from defusion_lib.data.datasets import open_dataset
from defusion_lib.data.files import read_image, read_mask
from defusion_lib.evaluation.map_scores import with_errors
from defusion_lib.inference import detect
from defusion_lib.metrics import Evaluation
from defusion_lib.runs.provenance import environment_info
from defusion_lib.runs.run import Run
from defusion_lib.weights import load_network, read_card, resolve

ROOT = Path(__file__).resolve().parents[2]
METHOD = "folder-made-up/defusionnet-compact+step1"
TRAINING = {
    "dataset": "folder",
    "steps": 1,
    "backbone": "imagenet",
    "stages": [[6, 32, 2]],
    "every": 2,
}
EVALUATION = {"dataset": "folder", "weights": "trained", "size": 32}
KINDS = ((read_image, "photos", "jpg"), (read_mask, "masks", "png"))
PACKAGES = ("torch", "numpy", "pillow", "safetensors", "tqdm")  # what a bundle may use


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bundle, bundle_run = tool("bundle"), tool("bundle_run")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout with the profile `tiny`, four made-up photographs for training and for testing, and random weights in vgg16.safetensors."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("defusion_lib", "notebooks", "tools"):
        (root / name).symlink_to(ROOT / name)
    write_profile(root, "tiny")
    rng = np.random.default_rng(0)
    for part, number in itertools.product(("train", "test"), range(4)):
        folder = root / "made-up" / part
        (folder / "masks").mkdir(parents=True, exist_ok=True)
        mask = np.zeros((48, 64), np.uint8)
        mask[:, 10 + 10 * number :] = 255
        image = np.where(mask[..., None] > 0, 128, rng.integers(0, 256, (48, 64, 1)).repeat(3, axis=2))
        Image.fromarray(np.uint8(image)).save(folder / f"{number}.png")
        Image.fromarray(mask).save(folder / f"masks/{number}.png")
    torch.manual_seed(0)
    save_file({name: each.half() for name, each in VGG16().state_dict().items()}, root / "vgg16.safetensors")
    return root


def write_profile(root, name, training=None, evaluation=None):
    folder = root / "params" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "03_training.yaml").write_text(yaml.safe_dump(TRAINING | (training or {})))
    (folder / "04_evaluation.yaml").write_text(yaml.safe_dump(EVALUATION | (evaluation or {})))


def packed(checkout, profile="tiny"):
    folder = checkout / "build" / profile
    return bundle.pack(checkout, profile, str(checkout / "made-up"), str(checkout / "vgg16.safetensors"), folder)


@pytest.fixture(scope="module")
def unpacked(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    for part in packed(checkout):
        with tarfile.open(part) as archive:
            archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def place(unpacked, tmp_path, monkeypatch):
    """A folder with an unpacked bundle, in which `bundle_run` finds it; files are links, to be replaced, not changed."""
    folder = shutil.copytree(unpacked, tmp_path / "place", copy_function=os.link)
    monkeypatch.setattr(bundle_run, "HERE", folder)
    monkeypatch.setenv("DEFUSION_THREADS", "1")
    return folder


@pytest.fixture(scope="module")
def finished(unpacked, tmp_path_factory):
    """The outputs of `python run.py` where nothing else than torch, NumPy, Pillow, safetensors and tqdm can be imported."""
    outputs = tmp_path_factory.mktemp("outputs")
    done = run_alone(unpacked, outputs)
    assert done.returncode == 0, done.stderr
    assert ("No GPU was found" in done.stdout) is not torch.cuda.is_available()
    assert done.stdout.splitlines()[-1] == "Finished: tiny."
    return outputs / "tiny"


def run_alone(folder, outputs, *command):
    environment = {"PYTHONPATH": str(outputs / "packages"), "DEFUSION_OUTPUTS": str(outputs), "DEFUSION_THREADS": "1"}
    environment |= {name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES",) if name in os.environ}
    link_packages(outputs / "packages", PACKAGES)
    command = [sys.executable, "-S", *(command or ("run.py",))]  # -S leaves out what is installed
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def link_packages(folder, waiting):
    """Fill a folder with links to installed packages and to all that they need."""
    folder.mkdir()
    waiting, seen = list(waiting), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        distribution = metadata.distribution(name)
        for part in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (folder / part).exists():
                (folder / part).symlink_to(distribution.locate_file(part))
        needs = map(Requirement, distribution.requires or [])
        waiting += [each.name for each in needs if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert not [name for name in ("scipy", "matplotlib", "yaml", "IPython", "defusion_lib") if (folder / name).exists()]


def results(folder, stem):
    return json.loads((folder / f"results/{stem}.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["03_training", "04_evaluation"])
def test_results_have_the_keys_and_stamps_of_the_notebooks(finished, stem):
    def metrics(values):
        return {key.rpartition("/")[2] for key in values}

    mine, notebook = results(finished, stem), results(ROOT / "outputs/cpu", stem)
    assert metrics(mine["values"]) == metrics(notebook["values"])
    assert set(notebook["stamp"]) <= set(mine["stamp"])
    assert mine["stamp"]["notebook"] == stem and mine["stamp"]["profile"] == "tiny"
    assert mine["stamp"]["commit"] == environment_info()["commit"]
    assert mine["stamp"]["data"][0]["name"] == "folder-made-up" and mine["stamp"]["data"][0]["photographs"] == 4
    assert "JPEG of quality 65" in mine["stamp"]["bundle"]["training_photographs"]
    assert "trial" not in mine["stamp"]


@pytest.mark.slow
def test_a_bundle_leaves_the_loss_the_curves_and_the_network(finished):
    with np.load(finished / "figures/training_loss.npz") as arrays:
        assert arrays["loss"].shape == (6,) and arrays["maps"] == 7 and "stamp" in arrays
    with np.load(finished / "figures/curves.npz") as arrays:
        assert arrays["defusionnet-compact+step1_focus_precision"].shape == (256,)
    card = read_card(finished / "weights/03_training.safetensors")
    assert card["backbone"] == "vgg16.safetensors, in half precision"
    assert not (finished / "checkpoints/03_training.pt").exists()


def test_photographs_are_those_that_the_network_would_see(place, checkout):
    listing = json.loads((place / "bundle.json").read_text())
    for part, error in (("train", 9), ("test", 1.5)):
        found = bundle_run.photographs(listing, part, None)
        originals = open_dataset("folder", part, str(checkout / "made-up"))
        assert (found.name, found.stems) == (originals.name, originals.stems)
        for packed, original in zip(found, originals):
            seen = original.image if part == "train" else resize_to_square(Image.fromarray(original.image), 32)
            assert np.abs(packed.image - seen.astype(float)).mean() < error  # levels of 255
            np.testing.assert_allclose(packed.mask, original.mask, atol=0.5 / 255 + 1e-6)


@pytest.mark.slow
def test_scores_are_those_of_the_usual_way(finished, place):
    network, evaluation = load_network(finished / "weights/03_training.safetensors"), Evaluation()
    for number in range(4):
        image, mask = (read(place / f"{kind}/test/{number}.{end}") for read, kind, end in KINDS)
        height, width = mask.shape
        found = Image.fromarray(detect(image, network, 32)).resize((width, height), Image.Resampling.BILINEAR)
        evaluation.add(np.clip(found, 0, 1), mask)
    values = results(finished, "04_evaluation")["values"]
    for metric, value in with_errors(evaluation).items():
        assert values[f"{METHOD}/{metric}"] == pytest.approx(value, abs=1e-6)


@pytest.mark.slow
def test_an_evaluation_that_does_not_fit_says_what_it_needs(place, finished, outputs, ticking, capsys):
    assert ticking("--minutes", "0.2") == 75  # time for the training alone
    assert "the network is trained, and its evaluation needs another call." in capsys.readouterr().out
    assert ticking("--minutes", "0.1") == 1
    assert "does not fit into 0.1 minutes: give --minutes 1 or more." in capsys.readouterr().err
    assert ticking("--minutes", "1") == 0
    assert (
        results(outputs / "tiny", "04_evaluation")["values"].keys()
        == results(finished, "04_evaluation")["values"].keys()
    )


@pytest.fixture
def ticking(monkeypatch):
    """A clock that goes on by a second whenever `bundle_run` looks at it; gives the function that runs a command."""
    seconds = itertools.count(1.0)
    monkeypatch.setattr(bundle_run, "time", SimpleNamespace(monotonic=lambda: next(seconds)))

    def run(*arguments):
        monkeypatch.setattr(bundle_run, "BEGUN", next(seconds))
        return bundle_run.main(list(arguments))

    return run


@pytest.mark.slow
def test_stretches_resume_one_another_to_the_same_weights(place, finished, outputs, ticking, capsys):
    codes = [ticking("--minutes", "0.08") for _ in range(2)] + [ticking()]
    assert codes == [75, 75, 0]
    stops = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Not finished")]
    assert stops == [
        f"Not finished: the checkpoint holds iteration {number} of 6. Run the same command again." for number in (1, 2)
    ]
    mine, whole = results(outputs / "tiny", "03_training"), results(finished, "03_training")
    assert mine["stamp"]["weights_sha256"] == whole["stamp"]["weights_sha256"]
    stretches = [(each["from"], each["to"]) for each in mine["stamp"]["training_stretches"]]
    assert stretches == [(0, 1), (1, 2), (2, 6)]

    written = (outputs / "tiny/results/04_evaluation.json").stat().st_mtime_ns
    assert ticking() == 0  # nothing is left to do
    assert (outputs / "tiny/results/04_evaluation.json").stat().st_mtime_ns == written


def test_checkpoints_are_written_more_often_where_iterations_take_long(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(bundle_run, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(bundle_run, "BEGUN", 0.0)
    watched = bundle_run.Clock(10_000, 500, deadline=540.0).timed(lambda network, batch: batch)
    with pytest.raises(bundle_run.TooFewCheckpoints) as found:
        for step in range(100):
            assert watched(None, step) == step
            now[0] += 6.0
    assert found.value.every == 9 and now[0] <= 66  # 54 of the 540 seconds
    quick = bundle_run.Clock(10_000, 8, deadline=540.0).timed(lambda network, batch: batch)
    for step in range(100):
        quick(None, step)
        now[0] += 6.0


@pytest.mark.slow
def test_a_trial_has_a_profile_of_its_own_and_says_so(place, outputs):
    assert bundle_run.main(["--iterations", "1", "--size", "16", "--photos", "2"]) == 0
    for stem in ("03_training", "04_evaluation"):
        stamp = results(outputs / "tiny-trial", stem)["stamp"]
        assert stamp["trial"] == {"iterations": 1, "size": 16, "photos": 2} and stamp["data"][0]["photographs"] == 2
    assert stamp["parameters"]["size"] == 16
    assert not (outputs / "tiny").exists()


def replace_file(path, content):
    path.unlink()
    if content is not None:
        path.write_bytes(content)


@pytest.mark.parametrize(
    "name, change, sentence",
    [
        (
            "vgg16.safetensors",
            None,
            "1 of the bundle's .* files are missing, the first is vgg16.* unpack part1.tar.gz beside",
        ),
        ("photos/test/2.jpg", None, "the first is photos/test/2.jpg: unpack part2.tar.gz beside run.py"),
        (
            "vgg16.safetensors",
            lambda old: old[:1000],
            "vgg16.safetensors has 1000 bytes, expected .*: copy part1.tar.gz",
        ),
        (
            "photos/train/1.jpg",
            lambda old: old[:-1] + b"x",
            "1.jpg is not the file that was packed .* copy part2.tar.gz",
        ),
        ("bundle.json", None, "no bundle.json beside run.py: unpack both parts of one bundle"),
        ("bundle.json", lambda old: old[:1000], "bundle.json is damaged: unpack both parts .* again"),
    ],
)
def test_an_incomplete_bundle_is_refused_before_training(place, outputs, capsys, name, change, sentence):
    replace_file(place / name, change and change((place / name).read_bytes()))
    assert bundle_run.main([]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(sentence, said), said
    assert not list(outputs.rglob("*.pt"))


def test_a_missing_package_is_named(place, monkeypatch, capsys):
    monkeypatch.setattr(bundle_run, "find_spec", lambda name: None if name in ("PIL", "tqdm") else name)
    assert bundle_run.main([]) == 1
    assert capsys.readouterr().err == "This Python lacks Pillow, tqdm: install it, or choose another Python.\n"


def test_bf16_where_it_does_not_exist_is_refused_before_training(place, outputs, monkeypatch, capsys):
    listing = json.loads((place / "bundle.json").read_text())
    listing["parameters"]["03_training"]["given"]["precision"] = "bf16"
    replace_file(place / "bundle.json", json.dumps(listing).encode())
    monkeypatch.setattr("defusion_lib.precision.has_bf16", lambda device: False)
    assert bundle_run.main([]) == 1
    assert "precision='bf16' was asked for" in capsys.readouterr().err
    assert not list(outputs.rglob("*.pt"))


def test_a_trial_of_a_profile_that_leaves_stages_and_size_at_the_notebooks():
    parameters = {
        "03_training": {"defaults": {"stages": [[9, 96, 4]]}, "given": {"profile": "mine"}},
        "04_evaluation": {"defaults": {"size": 96}, "given": {"profile": "mine"}},
    }
    bundle = {"parameters": parameters, "data": {"size": 320}, "notes": {}}
    given = bundle_run.trial(bundle, SimpleNamespace(iterations=1, size=None, photos=None))
    assert given["03_training"]["stages"] == [[1, 96, 4]] and given["04_evaluation"]["size"] == 96


def test_a_size_that_is_not_stored_is_refused(place, capsys):
    assert bundle_run.main(["--size", "64"]) == 1
    assert "--size 64 is larger than the photos of this bundle: choose up to 32." in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_of_other_parameters_is_left_alone(place, finished, outputs, capsys):
    shutil.copytree(finished, outputs / "tiny")
    listing = json.loads((place / "bundle.json").read_text())
    listing["parameters"]["03_training"]["given"]["learning_rate"] = 0.1
    replace_file(place / "bundle.json", json.dumps(listing).encode())
    assert bundle_run.main([]) == 1
    assert "03_training.safetensors was made with another parameters: move" in capsys.readouterr().err


# Packing


@pytest.mark.parametrize(
    "training, evaluation, sentence",
    [
        ({"augmentation": ["noise", "rendered"]}, {}, "uses the steps rendered of the augmentation, which need SciPy"),
        ({"begin_with": "shipped"}, {}, "begins with the network shipped"),
        ({"backbone": "random"}, {}, "begins with random weights"),
        ({}, {"weights": "shipped"}, "evaluates the network shipped instead of the trained one"),
        ({}, {"size": 0}, "evaluates photos at their own size"),
        ({"stage": 1}, {}, '"stage" is no parameter of 03_training'),
    ],
)
def test_a_profile_that_no_bundle_can_hold_is_refused(checkout, training, evaluation, sentence):
    write_profile(checkout, "wrong", training, evaluation)
    with pytest.raises(ValueError, match=sentence):
        packed(checkout, "wrong")
    assert not (checkout / "build/wrong").exists()


def test_a_profile_without_training_is_refused(checkout):
    with pytest.raises(FileNotFoundError, match="There is no .*03_training.yaml: choose a profile"):
        packed(checkout, "nowhere")


def test_masks_are_read_as_the_profile_says(checkout):
    """White in focus in the files is blurred in the bundle."""
    write_profile(checkout, "focus", {"masks_white": "focus"}, {"masks_white": "focus"})
    for stem, part in zip(bundle.NOTEBOOKS, ("train", "test")):
        given = bundle.read(checkout, "focus", stem, str(checkout / "made-up"))["effective"]
        originals = open_dataset("folder", part, str(checkout / "made-up"))
        found = bundle.open_photos(given)
        assert found.stems == originals.stems
        assert all(np.array_equal(ours.mask, 1 - theirs.mask) for ours, theirs in zip(found, originals))


def test_a_bundle_evaluates_on_the_part_of_the_profile_or_not_at_all(checkout):
    write_profile(checkout, "all", evaluation={"part": "all"})
    whole = shutil.copytree(checkout / "made-up/train", checkout / "whole")
    with pytest.raises(ValueError, match="trains on folder-whole and evaluates on folder-whole-all"):
        bundle.pack(checkout, "all", str(whole), str(checkout / "vgg16.safetensors"), checkout / "build/all")
    assert not (checkout / "build/all").exists()


@pytest.mark.slow
def test_a_part_that_is_too_large_is_refused(checkout, monkeypatch):
    monkeypatch.setattr(bundle, "LIMIT", 20_000_000)
    write_profile(checkout, "large")
    with pytest.raises(ValueError, match="part1.tar.gz would have .* MB, expected less than 20"):
        packed(checkout, "large")
    assert not (checkout / "build/large").exists()


@pytest.mark.slow
def test_the_same_bundle_is_the_same_file(checkout, unpacked):
    before = [path.read_bytes() for path in sorted((checkout / "build/tiny").iterdir())]
    assert [path.read_bytes() for path in packed(checkout)] == before


EVERY_STEP = """
import numpy as np
from defusion_lib.data.augmentation import STEPS, resize_to_square
for name, step in STEPS.items():
    for mask in (np.zeros((200, 200), np.float32), np.ones((200, 200), np.float32)):
        try:
            step.apply(np.zeros((200, 200, 3), np.uint8), mask, np.random.default_rng(0))
        except ModuleNotFoundError:
            print(name)
            break
"""


@pytest.mark.slow
def test_steps_that_need_scipy_are_known(unpacked, outputs):
    outputs.mkdir()
    done = run_alone(unpacked, outputs, "-c", EVERY_STEP)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.split()) == sorted(bundle.NEED_SCIPY)
    assert set(bundle.NEED_SCIPY) < set(STEPS)


@pytest.mark.slow
def test_the_paper_profile_fits(shi_root, vgg_weights, tmp_path):
    paths = bundle.pack(ROOT, "paper", str(shi_root), str(vgg_weights), tmp_path)
    with tarfile.open(paths[1]) as archive:
        names = archive.getnames()
        photo = Image.open(archive.extractfile("photos/train/out_of_focus0001.jpg"))
    assert sum(name.startswith("photos/train/") for name in names) == 604
    assert sum(name.startswith("photos/test/") for name in names) == 100
    assert max(photo.size) == 640


def test_samples_at_the_largest_scale_are_as_sharp_as_those_of_the_notebook(place, checkout):
    """A window of a photo that was reduced too far would be enlarged, and soft where the mask says in focus."""
    listing = json.loads((place / "bundle.json").read_text())
    energy = []
    for photos in (
        bundle_run.photographs(listing, "train", None),
        open_dataset("folder", "train", str(checkout / "made-up")),
    ):
        samples = Augmented(photos.in_memory(), 32, rotations=(0,), scales=(1.25,), seed=0, steps=())
        energy.append(
            np.mean([np.diff(sample[0].numpy(), axis=2).std() for sample in map(samples.__getitem__, range(8))])
        )
    assert energy[0] / energy[1] > 0.9


@pytest.mark.slow
def test_an_evaluation_without_its_curves_is_not_finished(monkeypatch, one_thread):
    def photo(stem):
        mask = np.zeros((32, 32), np.float32)
        mask[:, 16:] = 1
        return Photo(stem, np.full((32, 32, 3), 99, np.uint8), mask)

    def full(*_, **__):
        raise OSError("The disk is full.")

    parameters = {"profile": "quick", "seed": 0, "size": 32}
    run = Run("04_evaluation", parameters, parameters)
    monkeypatch.setattr(bundle_run, "photographs", lambda *_: PhotoSet("mine", ["a"], photo))
    monkeypatch.setattr(run, "arrays", full, raising=False)  # a method of the bundle alone
    with pytest.raises(OSError, match="full"):
        bundle_run.evaluate({}, run, resolve("shipped"), None, None, False)
    assert not (run.folder / "results/04_evaluation.json").exists()
