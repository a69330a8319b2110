"""Files of fitted arrays: written atomically, read without pickle, and refused in one sentence."""

import inspect
import json
import sys
from types import ModuleType

import numpy as np
import pytest

from defusion_lib.baselines import CLASSICAL
from defusion_lib.baselines import fitted as module
from defusion_lib.baselines.fitted import fitted_path, fitted_to, load_fitted, save_fitted
from defusion_lib.baselines.wrapper import classical_method
from defusion_lib.data.synthetic import open_synthetic
from tools.fit_baseline import main, train


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    load_fitted.cache_clear()
    yield tmp_path
    load_fitted.cache_clear()


@pytest.fixture
def method(monkeypatch):
    """A method that learns the mean photograph's value and the seed."""
    tiny = ModuleType("defusion_lib.baselines.classical.tiny")
    tiny.learn = lambda photos, seed, progress: {
        "mean": np.float32([photo.image.mean() for photo in photos]),
        "seed": np.array(seed),
    }
    monkeypatch.setitem(sys.modules, tiny.__name__, tiny)
    return tiny


def read_stamp(name):
    with np.load(fitted_path(name)) as stored:
        return json.loads(str(stored["stamp"]))


def test_fitted_arrays_are_read_again_with_their_stamp(method, folder):
    photos = open_synthetic(2, (48, 48), seed=3)
    assert train("tiny", photos, seed=5, progress=False) == folder / "tiny.npz"
    found = load_fitted("tiny")
    assert set(found) == {"mean", "seed"}
    np.testing.assert_array_equal(found["mean"], np.float32([photo.image.mean() for photo in photos]))
    stamp = read_stamp("tiny")
    assert (stamp["method"], stamp["seed"]) == ("tiny", 5)
    assert stamp["data"][0]["photographs"] == 2
    assert {"commit", "versions", "device", "threads", "started", "seconds"} <= set(stamp)
    assert stamp["versions"]["scikit-learn"]


def test_learning_again_replaces_what_is_remembered(method):
    for seed in (1, 2):
        train("tiny", open_synthetic(1, (48, 48), seed=0), seed, progress=False)
        assert load_fitted("tiny")["seed"] == seed


def test_arrays_are_read_once_and_cannot_be_changed():
    save_fitted("tiny", {"a": np.zeros(3)}, {})
    found = load_fitted("tiny")
    fitted_path("tiny").unlink()
    assert load_fitted("tiny") is found
    with pytest.raises(ValueError, match="read-only"):
        found["a"][0] = 1


def test_no_file():
    sentence = "needs tiny.npz.*: create it with python -m tools.fit_baseline tiny, or reinstall"
    with pytest.raises(FileNotFoundError, match=sentence):
        load_fitted("tiny")


def spoilt_files():
    """Contents of files that are no fitted arrays."""
    import io

    def npz(**arrays):
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)
        return content.getvalue()

    whole = npz(a=np.arange(1000) ** 3 % 7919, stamp="{}")
    damaged = bytearray(whole)
    damaged[len(whole) // 3] ^= 0xFF
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    return {
        "empty": b"",
        "text": b"no arrays",
        "cut off": whole[: len(whole) // 2],
        "damaged": bytes(damaged),
        "no stamp": npz(a=np.zeros(3)),
        "stamp of another kind": npz(a=np.zeros(3), stamp="no JSON"),
        "objects": npz(a=np.array([{}], dtype=object), stamp="{}"),
        "one array": single.getvalue(),
    }


@pytest.mark.parametrize("kind", spoilt_files())
def test_broken_file(kind):
    fitted_path("tiny").write_bytes(spoilt_files()[kind])
    with pytest.raises(ValueError, match="tiny.npz is not a complete file of fitted arrays: create it with"):
        load_fitted("tiny")


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({}, "has no fitted array"),
        ({"a": np.array([{}], dtype=object)}, "'a' of tiny must contain numbers"),
        ({"stamp": np.zeros(3)}, "'stamp' of tiny must .* not be named 'stamp'"),
        ({"a": np.random.default_rng(0).random(140_000)}, "more than 1,000,000: store fewer"),
    ],
)
def test_arrays_that_are_refused_leave_the_old_file(arrays, sentence):
    save_fitted("tiny", {"a": np.ones(1)}, {})
    before = fitted_path("tiny").read_bytes()
    with pytest.raises(ValueError, match=sentence):
        save_fitted("tiny", arrays, {})
    assert fitted_path("tiny").read_bytes() == before
    assert len(list(fitted_path("tiny").parent.iterdir())) == 1


def test_methods_that_cannot_learn(method):
    photos = open_synthetic(1, (48, 48), seed=0)
    with pytest.raises(ValueError, match="There is no method 'nonsense'"):
        train("nonsense", photos)
    del method.learn
    with pytest.raises(ValueError, match="'tiny' has nothing to fit"):
        train("tiny", photos)


def test_the_command_ends_in_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["tiny", "--data", str(tmp_path / "nowhere")])
    assert ended.value.code == 1
    assert "dblurdetect" in capsys.readouterr().err


@pytest.mark.parametrize(("options", "split"), [([], "dutlab100"), (["--split", "last100"], "last100")])
def test_the_command_learns_from_the_training_photographs_of_a_split(method, shi_root, capsys, options, split):
    seen = []
    method.learn = lambda photos, seed, progress: seen.append(photos) or {"seed": np.array(seed)}
    main(["tiny", "--data", str(shi_root), "--seed", "4", *options])
    (photos,) = seen
    assert (photos.name, len(photos)) == (f"shi-{split}", 604)
    assert load_fitted("tiny", split)["seed"] == 4
    assert "fitted to 604 photos" in capsys.readouterr().out
    assert [path.name for path in fitted_path("tiny").parent.iterdir()] == [fitted_path("tiny", split).name]


def test_fits_of_two_splits_stand_side_by_side():
    save_fitted("tiny", {"a": np.zeros(3)}, {})
    with pytest.raises(FileNotFoundError, match="needs tiny_last100.npz.*fit_baseline tiny --split last100, or"):
        load_fitted("tiny", "last100")
    save_fitted("tiny", {"a": np.ones(3)}, {}, "last100")
    assert load_fitted("tiny")["a"].sum() == 0 and load_fitted("tiny", "last100")["a"].sum() == 3


def test_a_method_is_called_with_what_it_learnt_from_a_split():
    def learnt(image, progress, split="dutlab100"):
        return np.full(image.shape[:2], {"dutlab100": 0.25, "last100": 0.75}[split])

    image = np.zeros((4, 5, 3), np.uint8)
    detect = classical_method(learnt)
    assert (fitted_to(detect, "last100")(image) == 0.75).all() and (fitted_to(detect, "dutlab100")(image) == 0.25).all()
    fixed = classical_method(lambda image, progress: np.ones(image.shape[:2]))
    assert fitted_to(fixed, "last100") is fixed


def test_every_method_that_learns_names_its_split(monkeypatch):
    asked = []
    for method in CLASSICAL.values():
        source = sys.modules[inspect.unwrap(method).__module__]
        if hasattr(source, "learn"):
            with monkeypatch.context() as patch:
                patch.setattr(source, "load_fitted", lambda *given: asked.append(given) or {})
                with pytest.raises((KeyError, TypeError)):  # no arrays: what was asked for is enough
                    fitted_to(method, "last100")(np.zeros((32, 32, 3), np.uint8))
    assert asked == [(name, "last100") for name in ("jnb", "dbdf", "ksfv")]
