"""Held-out photos choose a run's weights and may end it; a run that is killed and resumed ends the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_distributed import Stop, stopping, tiny
from test_training import BARE, MADE_UP, read_made_up
from torch.nn import functional as F

from defusion_lib.data import Photo, PhotoSet
from defusion_lib.data.augmentation import resize_to_square, to_tensor
from defusion_lib.training import MASKS, Recipe, Validation, train, train_or_load, whole_photos
from defusion_lib.weights import read_card, weights_hash

pytestmark = pytest.mark.usefixtures("one_thread")

HELD_OUT = PhotoSet("made-up", ["7", "8", "9"], read_made_up)
RECIPE = Recipe(
    stages=((8, 16, 2), (6, 24, 2)), optimiser="adamw", schedule="cosine", learning_rate=0.01, score_factor=1.0,
    weight_decay=0.0, averaging=0.5,
)  # fmt: skip
RULE = Validation(HELD_OUT, every=2, patience=3)


def scripted(losses):
    """The task of masks, whose held-out loss is the next of these numbers."""
    following = iter(losses)
    one = [(torch.zeros(()),)]
    return MASKS._replace(held_out=lambda *_: one, held_out_loss=lambda *_: torch.tensor(next(following)))


def weights_after(iterations, recipe=RECIPE):
    """The weights that the run would end with after so many iterations, which its seven evaluations note."""
    seen = {}

    def note(network, *_):
        seen[2 * (len(seen) + 1)] = weights_hash(network)
        return torch.tensor(0.0)

    task = MASKS._replace(held_out=lambda *_: [(torch.zeros(()),)], held_out_loss=note)
    train(tiny(), MADE_UP, recipe, task=task, validation=RULE._replace(patience=99))
    return seen[iterations]


@pytest.mark.parametrize(
    ("losses", "done", "kept"),
    [
        ([5, 4, 3, 2, 1, 0.5, 0.25], 14, 6),
        ([5, 4, 3, 3.5, 2, 2.5, 3], 14, 4),
        ([5, 4, 4, 4, 4, 1, 0], 10, 1),  # an equal loss is no lower one
        ([5, 1, 2, 3, 4, 1, 0], 10, 1),
        ([1, 2, 3, 4, 0, 0, 0], 8, 0),
    ],
)
@pytest.mark.parametrize("averaging", [0.0, 0.5])
def test_a_run_ends_where_the_loss_has_stopped_falling_and_keeps_the_lowest(losses, done, kept, averaging):
    network, recipe = tiny(), replace(RECIPE, averaging=averaging)
    history = train(network, MADE_UP, recipe, task=scripted(losses), validation=RULE)
    assert len(history.loss) == done == history.stretches[-1]["to"] and history.lowest == kept
    assert history.held_out == [[2 * (i + 1), losses[i]] for i in range(done // 2)]
    assert weights_hash(network) == weights_after(2 * (kept + 1), recipe)
    assert not network.training


def test_the_last_iteration_is_evaluated_too():
    history = train(tiny(), MADE_UP, RECIPE, task=scripted([3, 2, 1]), validation=RULE._replace(every=5))
    assert [iteration for iteration, _ in history.held_out] == [5, 10, 14]


def test_the_loss_is_that_of_whole_photos_at_the_last_size():
    seen = []

    def loss(network, *batch):
        found = MASKS.held_out_loss(network, *batch)
        seen.append((len(batch[0]), network.training, found.requires_grad))
        return found

    network = tiny()
    task, recipe = MASKS._replace(held_out_loss=loss), replace(RECIPE, stages=((1, 16, 1), (1, 24, 2)), averaging=0.0)
    history = train(network, MADE_UP, recipe, task=task, validation=RULE)
    expected = []
    for photo in HELD_OUT:
        image, mask = (resize_to_square(each, 24) for each in pictures(photo))
        logits = network(to_tensor(image)[None]).final
        expected.append(F.binary_cross_entropy_with_logits(logits, torch.from_numpy(mask.copy())[None, None]).item())
    assert history.held_out[0][1] == pytest.approx(np.mean(expected), rel=1e-6)
    assert seen == [(2, False, False), (1, False, False)]


def pictures(photo):
    from PIL import Image

    return Image.fromarray(photo.image), Image.fromarray(photo.mask)


def test_a_recipe_of_windows_is_evaluated_on_windows():
    ramp = np.repeat(np.arange(60, dtype=np.uint8)[None, :, None], 60, 0).repeat(3, 2)
    photos = PhotoSet("ramps", ["1", "2"], lambda stem: Photo(stem, ramp, ramp[..., 0].astype(np.float32) / 59))
    samples = whole_photos(photos, 20, replace(RECIPE, scales=(2.0, 3.0), rotations=(90,), augmentation=("grey",)))
    first = [image[0, 0, 0].item() for image, _ in samples]
    assert len(samples) == 2 and first[0] != first[1]  # windows begin anywhere
    for image, mask in samples:
        assert image.shape == (3, 20, 20) and mask.shape == (1, 20, 20)
        # Half of the ramp, neither turned nor mirrored.
        assert (image[0, 0, -1] - image[0, 0, 0]).item() * 255 == pytest.approx(60 / 2 * 19 / 20, abs=1)
        assert torch.equal(image[:, 0], image[:, -1])


def test_evaluations_do_not_change_the_training():
    plain = train(tiny(), MADE_UP, RECIPE)
    validated = train(tiny(), MADE_UP, RECIPE, validation=RULE._replace(patience=99))
    assert validated.loss == plain.loss and plain.held_out == []


@pytest.mark.parametrize("at", range(2, 15, 3))
@pytest.mark.parametrize("every", [1, 3, 4])
def test_a_resumed_run_evaluates_and_ends_the_same(at, every, tmp_path):
    """Wherever it was stopped, and whichever iterations have a checkpoint."""
    whole = tiny()
    history = train(whole, MADE_UP, RECIPE, validation=RULE)

    def stop(*_):
        raise Stop

    def losses(network, *batch):
        # A loss that is lowest early, so that the kept weights are older than the checkpoint.
        return MASKS.held_out_loss(network, *batch)

    given = {"checkpoint": tmp_path / "run.pt", "every": every, "validation": RULE}
    with pytest.raises(Stop):
        train(tiny(), MADE_UP, RECIPE, task=stopping(stop, at)._replace(held_out_loss=losses), **given)
    resumed = tiny()
    continued = train(resumed, MADE_UP, RECIPE, **given)
    assert weights_hash(resumed) == weights_hash(whole)
    assert (continued.loss, continued.held_out) == (history.loss, history.held_out)


@pytest.mark.parametrize("every", [1, 3, 5])
def test_kept_weights_outlive_a_stop(every, tmp_path):
    """The lowest loss lies before the checkpoint, and the run ends early."""
    losses, rule = [5, 1, 2, 3, 4], RULE
    whole = tiny()
    train(whole, MADE_UP, RECIPE, task=scripted(losses), validation=rule)

    def stop(*_):
        raise Stop

    given = {"checkpoint": tmp_path / "run.pt", "every": every, "validation": rule}
    task = scripted(losses)
    with pytest.raises(Stop):
        train(tiny(), MADE_UP, RECIPE, task=task._replace(loss=stopping(stop, 8).loss), **given)
    # Iterations 1 to 7 were done; those with evaluations after the checkpoint are evaluated again.
    known = (7 - 7 % every) // 2
    resumed, again = tiny(), tiny()
    history = train(resumed, MADE_UP, RECIPE, task=scripted(losses[known:]), **given)
    assert weights_hash(resumed) == weights_hash(whole)
    assert len(history.loss) == 10 and history.held_out == [[2 * i + 2, loss] for i, loss in enumerate(losses)]
    # It is over: it is neither trained nor evaluated again.
    finished = train(again, MADE_UP, RECIPE, task=scripted([]), **given)
    assert weights_hash(again) == weights_hash(whole) and finished.stretches == history.stretches


def test_a_photo_is_not_both():
    both = PhotoSet("made-up", ["7", "1"], read_made_up)
    with pytest.raises(ValueError, match="^1 of made-up are held out and trained on"):
        train(tiny(), MADE_UP, RECIPE, validation=RULE._replace(photos=both))


def test_held_out_photos_need_masks():
    without = PhotoSet("made-up", ["7"], lambda stem: read_made_up(stem)._replace(mask=None))
    with pytest.raises(ValueError, match="^7 of made-up has no mask"):
        train(tiny(), MADE_UP, RECIPE, validation=RULE._replace(photos=without))


def test_a_held_out_loss_that_is_no_number_stops_the_run(tmp_path):
    given = {"checkpoint": tmp_path / "run.pt", "every": 1, "validation": RULE}
    with pytest.raises(FloatingPointError, match="held-out photos is nan at iteration 4: lower"):
        train(tiny(), MADE_UP, RECIPE, task=scripted([1.0, float("nan")]), **given)
    history = train(tiny(), MADE_UP, RECIPE, **given)
    assert history.stretches[0]["to"] == 3


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        (RULE, RULE._replace(every=3), "validation.every=2 instead of 3"),
        (RULE, RULE._replace(patience=2), "validation.patience=3 instead of 2"),
        (RULE, RULE._replace(photos=HELD_OUT[:2]), "validation.photographs=3 instead of 2"),
        (RULE, None, "validation.name='made-up' instead of None"),
        (None, RULE, "validation.name=None instead of 'made-up'"),
    ],
)
def test_a_run_does_not_go_on_with_another_validation(first, second, named, tmp_path):
    recipe = replace(RECIPE, stages=((2, 16, 2),))
    train(tiny(), MADE_UP, recipe, checkpoint=tmp_path / "run.pt", validation=first)
    with pytest.raises(ValueError, match=f"run.pt belongs to another run .*{named}"):
        train(tiny(), MADE_UP, recipe, checkpoint=tmp_path / "run.pt", validation=second)


def test_a_card_says_how_a_run_ended(tmp_path):
    path = tmp_path / "tiny.safetensors"
    network = train_or_load(path, lambda: tiny(), MADE_UP, RECIPE, task=scripted([5, 1, 2, 3, 4]), validation=RULE)
    card = read_card(path)
    assert card["held_out"] == [[2, 5], [4, 1], [6, 2], [8, 3], [10, 4]] and card["kept"] == 1
    assert card["validation"]["patience"] == 3 and card["validation"]["photographs"] == 3
    again = train_or_load(path, lambda: tiny(), MADE_UP, RECIPE, validation=RULE)
    assert weights_hash(again) == weights_hash(network)
    with pytest.raises(ValueError, match="was made in another way.*validation.patience=3 instead of 9"):
        train_or_load(path, lambda: tiny(), MADE_UP, RECIPE, validation=RULE._replace(patience=9))


@pytest.mark.parametrize("change", ["gone", "other keys", "not finite"])
def test_damaged_kept_weights_are_named(change, tmp_path):
    checkpoint, recipe = tmp_path / "run.pt", replace(BARE, stages=((2, 16, 2),))
    train(tiny(), MADE_UP, recipe, checkpoint=checkpoint, validation=RULE)
    state = torch.load(checkpoint, weights_only=True)
    if change == "gone":
        del state["best"]
    elif change == "other keys":
        state["best"].popitem()
    else:
        state["best"]["final.bias"].fill_(float("inf"))
    torch.save(state, checkpoint)
    with pytest.raises(ValueError, match=r"run.pt is not a readable checkpoint \(ValueError\)"):
        train(tiny(), MADE_UP, recipe, checkpoint=checkpoint, validation=RULE)
