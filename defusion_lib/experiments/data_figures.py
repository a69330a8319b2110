"""Draw the photos, their masks and their augmentation as notebook 01 shows them."""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from defusion_lib import plots
from defusion_lib.data import Photo
from defusion_lib.data.augmentation import EFFECTS, STEPS, VIEWS, Augmented, resize_to_square
from defusion_lib.data.synthetic import CHALLENGES
from defusion_lib.plots import Drawing

SHEET = 10  # photos side by side on a contact sheet, as in Figure 7
STEP_SHEET = 7  # the same for random steps
STEP_SIDE = 160  # pixels a side of a photo after a random step
VARIANTS = 8


def contact_sheets(photos: Sequence[Photo], dataset: str) -> Iterator[Drawing]:
    """Draw photos and their masks, ten photos per sheet (Figure 7); rendered ones by what makes them hard."""
    order = {name: place for place, name in enumerate(CHALLENGES)}
    photos = sorted(photos, key=lambda photo: order.get(photo.name.rpartition("-")[0], 0))
    for number, begin in enumerate(range(0, len(photos), SHEET), start=1):
        group = photos[begin : begin + SHEET]
        caption = (
            f"Photos of {dataset}, each above its mask: white is blurred, black is in focus. Laid out like Figure 7 of "
            "the paper. What differs: the paper shows ten photos of CTCUG, from left to right three whose background "
            "is in focus, two of one scene, three with objects of one kind, and two with low contrast."
        )
        arrays = {"names": [photo.name for photo in group], "blurred_share": [photo.mask.mean() for photo in group]}
        yield Drawing(f"contact_sheet_{number}", plots.examples(group), caption, arrays)


def variants(samples: Augmented) -> Drawing:
    """Draw the first eight variants of the first photo, above their masks."""
    pairs = [samples[i] for i in range(VARIANTS)]
    images = [np.uint8(255 * image.permute(1, 2, 0).numpy()) for image, _ in pairs]
    masks = [mask[0].numpy() for _, mask in pairs]
    titles = [
        f"{rotation}°, x{scale}{', flipped' if flip else ''}" for rotation, scale, flip in samples.variants[:VARIANTS]
    ]
    return Drawing(
        "augmentation",
        plots.sheet({"photographs": images, "masks": masks}, titles),
        "Eight of the sixteen variants of one photo, above their masks: turned, enlarged and mirrored alike.",
        {"photographs": np.stack(images), "masks": plots.as_levels(np.stack(masks))},
    )


def random_steps(original: Photo, seed: int) -> Iterator[Drawing]:
    """Draw a photo after each random step of `STEPS`, above its mask."""
    changed = [(original.image, original.mask)]
    for number, (name, step) in enumerate(STEPS.items()):
        rng = np.random.default_rng((seed, number))
        image, mask = original.image, original.mask
        if name == "half-blur":  # it needs an image that is in focus
            image, mask = VIEWS["sharp-square"].apply(image, mask, rng)
        if name in EFFECTS:
            image, mask = (resize_to_square(Image.fromarray(each), STEP_SIDE) for each in (image, mask))
        changed.append(step.apply(image, mask, rng))
    images, masks = ([resize_to_square(Image.fromarray(each), STEP_SIDE) for each in of] for of in zip(*changed))
    titles = ["original", *(f"{name}, {step.probability:.0%}" for name, step in STEPS.items())]
    for number, begin in enumerate(range(0, len(titles), STEP_SHEET), start=1):
        part = slice(begin, begin + STEP_SHEET)
        yield Drawing(
            f"random_steps_{number}",
            plots.sheet({"photo": images[part], "mask": masks[part]}, titles[part]),
            f"A photo after each random step, above its mask: {'; '.join(titles[part])}. The number is how often "
            "the step happens.",
            {"names": titles[part], "after": np.stack(images[part]), "masks": plots.as_levels(np.stack(masks[part]))},
        )
