"""What all classical methods have in common, also those that are added; each one's own tests are in its own file."""

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image

from defusion_lib.baselines import CLASSICAL
from defusion_lib.baselines.classical import dbdf, ksfv
from defusion_lib.baselines.fitted import FOLDER, fitted_path
from defusion_lib.data import PhotoSet
from defusion_lib.data.shi import SPLITS, split_stems
from defusion_lib.stopping import Stopped, stoppable

temple = load_sample_image("china.jpg")
SHAPES = [(1, 1), (16, 16), (1, 40), (40, 1), (1, 400), (400, 1), (3, 5), (13, 70), (33, 70), (7, 300), (90, 61)]
BLANK = {"jnb": 1, "ss": 1, "hifst": 1}  # the least that their maps say of what shows nothing
# How much the map rises where a photograph is blurred; LBP calls the sharp roof blurred in places, too.
RISES = {"jnb": 0.6, "dbdf": 0.7, "ss": 0.5, "ksfv": 0.4, "hifst": 0.2}
# How much higher it is there than where the photograph is sharp, and for a method that somebody adds.
HIGHER = {"jnb": 0.65, "dbdf": 0.75, "ss": 0.7, "lbp": 0.8, "ksfv": 0.4, "hifst": 0.3}
ADDED = 0.1
# Places in a run for a photo of 140 x 96 at which it can be stopped, at least.
STEPS = {"jnb": 5, "dbdf": 100, "ss": 4, "lbp": 200, "ksfv": 20, "hifst": 100}
HALVES = pytest.mark.parametrize("half", [np.s_[:, :100], np.s_[:, 100:]], ids=["left", "right"])


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("name", "photographs"), {"jnb": 0, "dbdf": dbdf.TRAINING_PHOTOS, "ksfv": ksfv.TRAINING_PHOTOS}.items()
)
def test_what_was_learnt_is_of_the_training_photos_of_the_split(name, photographs, split):
    learnt_from = split_stems(split, "train")
    with np.load(fitted_path(name, split)) as stored:
        (data,) = json.loads(str(stored["stamp"]))["data"]
        named = stored["photographs"].tolist() if "photographs" in stored else []
    assert data == PhotoSet(f"shi-{split}", learnt_from, None).provenance()
    assert set(named) <= set(learnt_from) and len(set(named)) == photographs


def test_every_fit_is_tested():
    assert {path.stem.partition("_")[0] for path in FOLDER.glob("*.npz")} == {"jnb", "dbdf", "ksfv"}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CLASSICAL)
def test_any_photograph_has_a_map(name, shape):
    photograph = temple[: shape[0], : shape[1]]
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for image in (photograph, photograph[..., 0], noise, np.zeros(shape, np.uint8)):
        found = CLASSICAL[name](image)
        assert found.dtype == np.float32 and found.shape == shape
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", CLASSICAL)
def test_what_shows_nothing_is_blurred(name, shape):
    assert CLASSICAL[name](np.full((*shape, 3), 128, np.uint8)).min() >= BLANK.get(name, 0.7)


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_a_stop_ends_it_at_its_next_step(name):
    asked = []

    def run(stop_at):
        def is_stopped():
            asked.append(1)
            return len(asked) >= stop_at

        asked.clear()
        with stoppable(is_stopped):
            CLASSICAL[name](temple[:96, :140])

    run(np.inf)
    whole = len(asked)
    assert whole >= STEPS[name]
    for stop_at in (1, whole // 2, whole - 1):
        with pytest.raises(Stopped):
            run(stop_at)
        # The other two strips of HiFST, which run in threads or wait for one, ask once each.
        assert len(asked) <= stop_at + 2 * (name == "hifst")


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSICAL)
def test_a_second_look_finds_the_same(name, capsys):
    image = temple[100:211, 200:361]
    before = image.copy()
    first = CLASSICAL[name](image)
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(CLASSICAL[name](image, progress=True), first)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", HIGHER)
def test_progress_is_shown_under_the_methods_name(name, capsys, monkeypatch):
    monkeypatch.setattr("defusion_lib.progress.LINE_SECONDS", 0)  # where there is no terminal
    CLASSICAL[name](temple[100:180, 200:280], progress=True)
    assert name in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSICAL)
def test_grey_is_seen_as_three_equal_channels(name):
    grey = temple[100:228, 200:328, 1]
    np.testing.assert_array_equal(CLASSICAL[name](grey), CLASSICAL[name](np.repeat(grey[..., None], 3, axis=2)))


def half_blurred(half):
    """A sharp roof, the same with one half blurred, and where that is."""
    sharp = temple[180:340, 100:300]
    image, blurred = sharp.copy(), np.zeros(sharp.shape[:2], bool)
    image[half] = gaussian_filter(sharp, (3, 3, 0))[half]
    blurred[half] = True
    return sharp, image, blurred


@pytest.mark.slow
@HALVES
@pytest.mark.parametrize("name", RISES)
def test_blurring_a_half_raises_the_map_there(name, half):
    sharp, image, blurred = half_blurred(half)
    before, after = CLASSICAL[name](sharp), CLASSICAL[name](image)
    assert after[blurred].mean() > before[blurred].mean() + RISES[name]


@pytest.mark.slow
@HALVES
@pytest.mark.parametrize("name", CLASSICAL)
def test_the_blurred_half_is_marked(name, half):
    _, image, blurred = half_blurred(half)
    found = CLASSICAL[name](image)
    assert found[blurred].mean() > found[~blurred].mean() + HIGHER.get(name, ADDED)
