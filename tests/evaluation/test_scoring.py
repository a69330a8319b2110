"""Scores of several methods on one set, and all protocols of one method."""

import numpy as np
import pytest

from defusion_lib import metrics
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.evaluation import protocols
from defusion_lib.evaluation.protocols import ProtocolScores
from defusion_lib.evaluation.scoring import score
from defusion_lib.metrics import Evaluation


@pytest.fixture(scope="module")
def photos():
    rng = np.random.default_rng(1)
    masks = {f"p{i}": (rng.random((12, 15)) < 0.3 + 0.2 * i).astype(np.float32) for i in range(3)}
    return PhotoSet("made-up", masks, lambda stem: Photo(stem, np.zeros((12, 15, 3), np.uint8), masks[stem]))


@pytest.fixture(scope="module")
def maps(photos):
    rng = np.random.default_rng(2)
    return {
        "good": [np.float32(0.7 * photo.mask + 0.3 * rng.random(photo.mask.shape)) for photo in photos],
        "random": [rng.random(photo.mask.shape) for photo in photos],
    }


def test_maps_are_scored_against_the_masks_of_their_own_images(photos, maps):
    scored = score(photos, {name: iter(of_images) for name, of_images in maps.items()}, Evaluation)
    assert scored.photos is photos and list(scored.methods) == ["good", "random"]
    for name, scores in scored.methods.items():
        literal = np.mean([np.abs(found - photo.mask).mean() for found, photo in zip(maps[name], photos)])
        assert scores.mae() == pytest.approx(literal)
    assert scored.methods["good"].auc() > 0.9 > scored.methods["random"].auc()


def test_a_method_without_a_map_of_each_image_is_refused(photos, maps):
    with pytest.raises(ValueError, match="shorter"):
        score(photos, {"good": maps["good"][:2]}, Evaluation)


def test_every_protocol_gives_a_number_under_its_name(photos, maps):
    scores = score(photos, maps, ProtocolScores).methods["good"]
    values, counts = scores.values(), scores.counts
    assert counts.shape == (3, 2, 256)
    names = {f"{name}-{positive}" for name in protocols.F_PROTOCOLS for positive in ("blur", "focus")}
    assert set(values) == names | {"auc", "auc-pooled", *protocols.IMAGE_PROTOCOLS}
    assert values["f-mean15-focus"] == protocols.f_at_mean(counts, "focus", 1.5)
    assert values["f-mean20-blur"] == protocols.f_at_mean(counts, "blur", 2)
    assert values["f-mean15-pooled-blur"] == protocols.f_at_mean_pooled(counts, "blur", 1.5)
    assert values["auc"] == metrics.auc(counts)
    pairs = [(found, photo.mask) for found, photo in zip(maps["good"], photos)]
    assert values["mae"] == pytest.approx(np.mean([np.abs(found - mask).mean() for found, mask in pairs]))
    for positive in protocols.CLASSES:
        literal = np.mean([protocols.weighted_f(*pair, positive) for pair in pairs])
        assert values[f"weighted-f-{positive}"] == pytest.approx(literal)
    assert values["weighted-f-blur"] != values["weighted-f-focus"]
