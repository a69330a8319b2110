"""The metrics against scikit-learn, against loops over thresholds, and against what must hold for any map."""

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from defusion_lib import metrics
from defusion_lib.metrics import Evaluation

CLASSES = ("blur", "focus")
EXACT = 1e-12  # sums of a few thousand float64 terms


def example(seed, height=37, width=53, share=0.6, contrast=0.5):
    """A noisy map of a random mask: float32, with values at both ends and every level possible."""
    rng = np.random.default_rng(seed)
    mask = (rng.random((height, width)) < share).astype(np.float32)
    noise = rng.normal(0.5, 0.35, mask.shape)
    return np.clip(contrast * mask + (1 - contrast) * noise, 0, 1).astype(np.float32), mask


def on_levels(defocus_map):
    return np.round(defocus_map.astype(np.float64) * 255) / 255


@pytest.fixture(scope="module")
def pairs():
    return [example(seed, share=0.3 + 0.15 * seed, contrast=0.2 * seed, width=40 + seed) for seed in range(4)]


def evaluated(pairs):
    evaluation = Evaluation()
    for defocus_map, mask in pairs:
        evaluation.add(defocus_map, mask)
    return evaluation


def turned(defocus_map, mask, positive):
    """Levels that speak for the positive class, and its pixels as bool."""
    levels = np.rint(on_levels(defocus_map) * 255).astype(int)
    return (levels, mask == 1) if positive == "blur" else (255 - levels, mask == 0)


def f_of(precision, recall):
    return 1.3 * precision * recall / (0.3 * precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("positive", CLASSES)
def test_curves_are_those_of_a_loop_over_thresholds(pairs, positive):
    found = evaluated(pairs).curves(positive)
    for t in range(256):
        precision, recall, false = [], [], []
        for defocus_map, mask in pairs:
            levels, truth = turned(defocus_map, mask, positive)
            marked = levels > t
            precision.append((marked & truth).sum() / marked.sum() if marked.any() else 1.0)
            recall.append((marked & truth).sum() / truth.sum())
            false.append((marked & ~truth).sum() / (~truth).sum())
        assert found.threshold[t] == t / 255
        assert found.precision[t] == pytest.approx(np.mean(precision), abs=EXACT)
        assert found.recall[t] == found.tpr[t] == pytest.approx(np.mean(recall), abs=EXACT)
        assert found.fpr[t] == pytest.approx(np.mean(false), abs=EXACT)
        assert found.f[t] == pytest.approx(f_of(np.mean(precision), np.mean(recall)), abs=EXACT)
    assert evaluated(pairs).max_f(positive) == found.f.max()


def test_auc_is_scikit_learns_on_the_levels(pairs):
    expected = np.mean([roc_auc_score(mask.ravel(), on_levels(map_).ravel()) for map_, mask in pairs])
    assert evaluated(pairs).auc() == pytest.approx(expected, abs=EXACT)


def test_rounding_to_levels_moves_auc_by_less_than_the_share_of_new_ties():
    # Rounding only ties pairs that were less than a level apart, each changing its count by a half at most.
    for seed in range(3):
        map_, mask = example(seed, 90, 90, contrast=0.3)
        exact = roc_auc_score(mask.ravel(), map_.ravel())
        counts = metrics.histogram(map_, mask)
        ties = (counts[0] * counts[1]).sum() / (counts[0].sum() * counts[1].sum())
        difference = abs(evaluated([(map_, mask)]).auc() - exact)
        assert 0 < difference < ties / 2
        assert difference < 1e-3  # what the rounding costs on maps that use their range


def test_mae_is_a_loop_over_pixels_of_the_unrounded_map(pairs):
    expected = []
    for map_, mask in pairs:
        rows = [abs(float(b) - float(g)) for b, g in zip(map_.ravel(), mask.ravel())]
        expected.append(sum(rows) / len(rows))
    assert evaluated(pairs).mae() == pytest.approx(np.mean(expected), abs=EXACT)
    # Images of two sizes: the mean over images is not the mean over pixels.
    small, large = (np.zeros((2, 2)), np.ones((2, 2))), (np.zeros((9, 9)), np.zeros((9, 9)))
    assert evaluated([small, large]).mae() == 0.5


def test_f_half_blur_is_f_at_the_unrounded_half(pairs):
    expected = []
    for map_, mask in pairs:
        marked = map_.ravel() > 0.5
        precision, recall = precision_score(mask.ravel(), marked), recall_score(mask.ravel(), marked)
        expected.append(f_of(precision, recall))
    assert evaluated(pairs).f_half_blur() == pytest.approx(np.mean(expected), abs=EXACT)


def test_halves_go_down_so_that_level_127_ends_at_one_half():
    half = np.float32(0.5)
    beside = np.stack([half, np.nextafter(half, np.float32(1)), np.nextafter(half, np.float32(0))])[None]
    assert metrics.quantise(beside).tolist() == [[127, 128, 127]]
    assert (metrics.quantise(np.arange(256, dtype=np.float32) / 255) == np.arange(256)).all()


@pytest.mark.parametrize("positive", CLASSES)
def test_auc_on_the_papers_axis_is_half_the_share_and_the_rest_of_auc(positive):
    for seed in range(4):
        map_, mask = example(seed, share=0.2 + 0.2 * seed)
        pi = (mask == (positive == "blur")).mean()
        auc = roc_auc_score(mask.ravel(), on_levels(map_).ravel())
        found = evaluated([(map_, mask)]).auc_paper(positive)
        assert found == pytest.approx(pi / 2 + (1 - pi) * auc, abs=EXACT)
        assert evaluated([(map_, mask)]).prevalence(positive) == pytest.approx(pi, abs=EXACT)


def test_auc_on_the_papers_axis_is_a_trapezoid_over_the_share_of_all_pixels():
    map_, mask = example(5)
    levels, truth = turned(map_, mask, "blur")
    marked = [levels > t for t in range(-1, 256)]
    x, y = [m.mean() for m in marked], [m[truth].mean() for m in marked]
    trapezoid = sum((x[k] - x[k + 1]) * (y[k] + y[k + 1]) / 2 for k in range(256))
    assert evaluated([(map_, mask)]).auc_paper("blur") == pytest.approx(trapezoid, abs=EXACT)


def test_inverting_map_and_mask_together_swaps_the_classes_and_nothing_else(pairs):
    there = evaluated([(on_levels(map_), mask) for map_, mask in pairs])
    back = evaluated([(1 - on_levels(map_), 1 - mask) for map_, mask in pairs])
    for one, other in (CLASSES, CLASSES[::-1]):
        assert back.max_f(other) == there.max_f(one)
        assert back.auc_paper(other) == there.auc_paper(one)
        assert back.all_positive_f(other) == there.all_positive_f(one)
        for ours, theirs in zip(back.curves(other), there.curves(one)):
            assert (ours == theirs).all()
    assert back.auc() == pytest.approx(there.auc(), abs=EXACT)
    assert back.mae() == pytest.approx(there.mae(), abs=EXACT)


def test_inverting_the_map_alone_gives_one_minus_auc(pairs):
    inverted = [(1 - on_levels(map_), mask) for map_, mask in pairs]
    assert evaluated(inverted).auc() == pytest.approx(1 - evaluated(pairs).auc(), abs=EXACT)


def test_a_strictly_monotone_map_of_the_levels_keeps_auc_and_the_papers(pairs):
    # Half the levels, spread unevenly: no two of them fall together.
    table = np.sort(np.random.default_rng(0).choice(256, 128, replace=False))
    few = [(np.round(on_levels(map_) * 127) / 255, mask) for map_, mask in pairs]
    spread = [(table[np.rint(map_ * 255).astype(int)] / 255, mask) for map_, mask in few]
    assert evaluated(spread).mae() != pytest.approx(evaluated(few).mae(), abs=1e-3)
    assert evaluated(spread).auc() == pytest.approx(evaluated(few).auc(), abs=EXACT)
    assert evaluated(spread).auc_paper("focus") == pytest.approx(evaluated(few).auc_paper("focus"), abs=EXACT)


@pytest.mark.parametrize("positive", CLASSES)
def test_marking_everything_gives_the_floor(pairs, positive):
    marked = float(positive == "blur")
    evaluation = evaluated([(np.full_like(map_, marked), mask) for map_, mask in pairs])
    share = np.mean([(mask == marked).mean() for _, mask in pairs])
    assert evaluation.all_positive_f(positive) == pytest.approx(1.3 * share / (0.3 * share + 1), abs=EXACT)
    assert evaluation.max_f(positive) == pytest.approx(evaluation.all_positive_f(positive), abs=EXACT)
    assert evaluation.auc() == 0.5
    # Nothing is marked as the other class: precision 1 by convention, recall 0.
    assert evaluation.max_f(next(c for c in CLASSES if c != positive)) == 0


def test_a_perfect_map_has_every_score_at_its_end(pairs):
    evaluation = evaluated([(mask, mask) for _, mask in pairs])
    for positive in CLASSES:
        assert evaluation.max_f(positive) == 1
        assert evaluation.auc_paper(positive) == pytest.approx(1 - evaluation.prevalence(positive) / 2, abs=EXACT)
    assert (evaluation.mae(), evaluation.f_half_blur(), evaluation.auc()) == (0, 1, 1)


def test_a_random_map_has_auc_one_half_on_both_axes():
    rng = np.random.default_rng(7)
    mask = (rng.random((300, 300)) < 0.6).astype(np.float32)
    evaluation = evaluated([(rng.random(mask.shape).astype(np.float32), mask)])
    # The standard deviation of AUC for P positives and N negatives is sqrt((P + N + 1) / (12 P N)).
    positives = int(mask.sum())
    deviation = np.sqrt((mask.size + 1) / (12 * positives * (mask.size - positives)))
    assert evaluation.auc() == pytest.approx(0.5, abs=5 * deviation)
    for positive in CLASSES:
        assert evaluation.auc_paper(positive) == pytest.approx(0.5, abs=5 * deviation)


def test_images_of_one_class_count_in_mae_only(pairs):
    blurred = (np.full((5, 5), 0.75), np.ones((5, 5)))
    sharp = (np.full((5, 5), 0.75), np.zeros((5, 5)))
    without, with_both = evaluated(pairs), evaluated([blurred, *pairs, sharp])
    assert len(with_both) == len(pairs) + 2
    ours, theirs = with_both.values(), without.values()
    assert ours.pop("mae") == pytest.approx((0.25 + 0.75 + theirs.pop("mae") * len(pairs)) / (len(pairs) + 2))
    assert ours == theirs
    assert with_both.all_positive_f("blur") == without.all_positive_f("blur")


def test_only_images_of_one_class_give_mae_and_a_sentence():
    evaluation = evaluated([(np.full((5, 5), 0.75), np.ones((5, 5)))])
    assert evaluation.mae() == 0.25
    for score in (evaluation.auc, evaluation.f_half_blur, evaluation.values):
        with pytest.raises(ValueError, match="None of the 1 masks has both blurred and in-focus pixels"):
            score()


def test_values_have_the_names_of_the_result_files(pairs):
    evaluation = evaluated(pairs)
    values = evaluation.values()
    assert values == {
        "mae": evaluation.mae(),
        "max-f-blur": evaluation.max_f("blur"),
        "max-f-focus": evaluation.max_f("focus"),
        "f-half-blur": evaluation.f_half_blur(),
        "auc": evaluation.auc(),
        "auc-paper-blur": evaluation.auc_paper("blur"),
        "auc-paper-focus": evaluation.auc_paper("focus"),
    }
    assert {type(value) for value in values.values()} == {float}
    assert len(set(values.values())) == len(values)


GOOD = np.full((4, 4), 0.5)
MASK = np.eye(4)


@pytest.mark.parametrize(
    ("defocus_map", "mask", "sentence"),
    [
        (np.zeros((3, 4)), MASK, r"The map is \(3, 4\), the mask \(4, 4\): resize the map"),
        (GOOD[None], MASK, r"The map has shape \(1, 4, 4\)"),
        (np.zeros((0, 4)), np.zeros((0, 4)), r"The map has shape \(0, 4\)"),
        (GOOD, MASK[..., None], r"The mask has shape \(4, 4, 1\)"),
        (np.where(MASK, np.nan, 0), MASK, "The map has 4 NaN pixels"),
        (GOOD, np.where(MASK, np.nan, 0), "The mask has 4 NaN pixels"),
        (GOOD * 510, MASK, r"The map reaches from 255 to 255: scale it to \[0, 1\]"),
        (GOOD - 1, MASK, "The map reaches from -0.5 to -0.5"),
        (GOOD * 2 + 1e-5, MASK, "The map reaches from 1.00001 to 1.00001"),
        (GOOD * 0 - 1e-5, MASK, "The map reaches from -1e-05 to -1e-05"),
        (GOOD, MASK * 1.0000001, "The mask reaches from 0 to 1.0000001"),
        (GOOD, MASK * 255, "The mask reaches from 0 to 255"),
        (GOOD, np.where(MASK, 0.5, 0), "The mask has 4 pixels other than 0 and 1: binarise it"),
    ],
)
def test_bad_images_give_one_sentence_and_are_not_counted(defocus_map, mask, sentence):
    evaluation = evaluated([(GOOD, MASK)])
    with pytest.raises(ValueError, match=sentence) as raised:
        evaluation.add(defocus_map, mask)
    assert "\n" not in str(raised.value)
    assert len(evaluation) == 1
    assert evaluation.mae() == 0.5


def test_a_map_without_a_single_hit_has_f_zero():
    assert metrics.f_measure(0, 0) == 0
    wrong = evaluated([(1 - MASK, MASK)])
    assert (wrong.f_half_blur(), wrong.auc(), wrong.mae()) == (0, 0, 1)


def test_other_misuse_gives_one_sentence():
    with pytest.raises(ValueError, match="No image has been added"):
        Evaluation().mae()
    with pytest.raises(ValueError, match="No image has been added"):
        Evaluation().values()
    with pytest.raises(ValueError, match="No image has been added"):
        Evaluation().counts
    with pytest.raises(ValueError, match="'sharp', but must be 'blur' or 'focus'"):
        evaluated([(GOOD, MASK)]).max_f("sharp")


# Published maps of every tenth training image (HiFST) or of 48 others; white means sharp in HiFST's.
REFERENCE = {
    "hifst": (61, True),
    "lbp": (48, False),
    "jnb": (48, False),
    "dbdf": (48, False),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", REFERENCE)
def test_published_maps_score_as_scikit_learn_scores_them(method, reference_maps, shi_root):
    number, white_is_sharp = REFERENCE[method]
    evaluation, aucs, errors, halves = Evaluation(), [], [], []
    precisions, recalls = [], []
    paths = sorted((reference_maps / method).iterdir())
    for path in paths[::3]:
        mask = np.asarray(Image.open(shi_root / "masks" / f"{path.stem}.png").convert("L")) > 127
        size = mask.shape[1], mask.shape[0]
        map_ = np.asarray(Image.open(path).convert("L").resize(size, Image.BILINEAR))
        map_ = 255 - map_ if white_is_sharp else map_
        evaluation.add(map_ / np.float32(255), mask)

        truth, levels = mask.ravel(), map_.ravel()
        aucs.append(roc_auc_score(truth, levels))
        errors.append(np.abs(levels / 255 - truth).mean())
        halves.append(f_of(precision_score(truth, levels > 127), recall_score(truth, levels > 127)))
        marked = [levels > t for t in range(0, 255, 15)]
        precisions.append([(truth & m).sum() / m.sum() if m.any() else 1.0 for m in marked])
        recalls.append([(truth & m).sum() / truth.sum() for m in marked])
    assert len(paths) == number
    assert evaluation.auc() == pytest.approx(np.mean(aucs), abs=1e-9)
    assert evaluation.mae() == pytest.approx(np.mean(errors), abs=1e-7)  # maps are float32
    assert evaluation.f_half_blur() == pytest.approx(np.mean(halves), abs=1e-9)
    expected = [f_of(p, r) for p, r in zip(np.mean(precisions, 0), np.mean(recalls, 0))]
    assert evaluation.curves("blur").f[0:255:15] == pytest.approx(expected, abs=1e-9)
    assert evaluation.auc() > 0.7  # a polarity mistake would be far below one half


def test_pixels_near_a_border_see_both_classes():
    rng = np.random.default_rng(0)
    mask = np.kron(rng.random((3, 4)) > 0.5, np.ones((9, 9))).astype(np.float32)
    for width in (1, 2, 5):
        found = metrics.near_border(mask, width)
        for y, x in np.ndindex(mask.shape):
            window = mask[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1]
            assert found[y, x] == (window.min() != window.max()), (width, y, x)


def test_border_error_is_that_of_these_pixels_and_skips_uniform_masks():
    mask = np.zeros((20, 30), np.float32)
    mask[:, 15:] = 1
    defocus = mask.copy()
    defocus[:, 10] = 1  # wrong: the farthest of the five columns on its side of the border
    evaluation = metrics.Evaluation()
    evaluation.add(defocus, mask)
    evaluation.add(np.ones_like(mask), np.ones_like(mask))
    assert evaluation.border_mae() == pytest.approx(1 / 10)
    uniform = metrics.Evaluation()
    uniform.add(mask * 0, mask * 0)
    with pytest.raises(ValueError, match="No mask has both"):
        uniform.border_mae()


@pytest.mark.parametrize("low, high", [(0, 1.0000001), (-1e-7, 1), (np.float32(-1e-8), np.nextafter(np.float32(1), 2))])
def test_rounding_of_single_precision_is_cut_off(low, high):
    defocus, clean = np.array([[low, high]] * 3), np.array([[0.0, 1.0]] * 3)
    mask = np.array([[0, 1], [1, 0], [0, 1]], np.float32)
    assert np.array_equal(metrics.histogram(defocus, mask), metrics.histogram(clean, mask))
