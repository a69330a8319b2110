"""JNB: how many atoms a patch needs (Shi, Xu and Jia, "Just Noticeable Defocus Blur Detection and
Estimation", CVPR 2015).

A dictionary is learnt from patches that were blurred a little. A blurred patch is then the sum of a few of
its atoms, a sharp one needs many: the length of the sparse code is the blur feature. The feature is mapped to
an amount of blur and smoothed along the photograph's edges.

The authors' code was not at hand. Patches of 8 x 8 and a small blur are the paper's as it is usually told;
these are readings: a greedy code (orthogonal matching pursuit up to a fixed error) for the paper's l1 code,
the domain transform for its smoothing, and a straight line from feature to blur where the paper fits a curve
on known blurs. The error, the longest code, the line and the smoothing were chosen to agree with published
maps of the original for training photographs: those maps fall straight with the code's length.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from tqdm.auto import tqdm

from defusion_lib.baselines.domain_transform import domain_transform
from defusion_lib.baselines.fitted import learnt
from defusion_lib.baselines.wrapper import detector
from defusion_lib.data import PhotoSet

SIZE = 8  # pixels: the side of a patch
STRIDE = 4  # pixels between patches
ERROR = 2.5 / 255  # root mean square difference, of a grey value, at which a code is good enough
LONGEST = 40  # atoms
NEW = 1e-6  # squared length of what an atom must add to those before it
SHARPEST = 0.82  # what the longest code takes off the blur
REACH, CONTRAST = 8, 2  # of the smoothing: pixels, and change of the photograph (sum over R, G, B, each 0-1)

ATOMS = 64
BLUR = 1.5  # pixels: Gaussian sigma, before the dictionary is learnt
EVERY, SAMPLES = 8, 300  # learn from every eighth photograph, from so many patches of each
BLOCK = 1024  # patches coded together, few enough to stay in the processor's cache


@detector
def detect(image, progress):
    """JNB's defocus map: lengths of sparse codes as blur, smoothed between the photograph's edges."""
    dictionary = learnt("jnb")["dictionary"]
    grey = np.asarray(Image.fromarray(image).convert("L")) / 255
    patches, grid = patches_of(grey)
    blocks = range(0, len(patches), BLOCK)
    lengths = np.concatenate(
        [
            code_lengths(patches[start : start + BLOCK], dictionary)
            for start in tqdm(blocks, desc="jnb", disable=not progress, leave=False)
        ]
    )
    blur = 1 - SHARPEST / LONGEST * lengths.reshape(grid)
    return domain_transform(between(blur, grey.shape), image / 255, REACH, CONTRAST)


def patches_of(grey: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """The patches (N, 64) about every fourth pixel of (H, W), less their means, and how many down and across.

    The photograph goes on mirrored beyond its borders.
    """
    padded = np.pad(grey, (SIZE // 2, SIZE // 2 - 1), mode="symmetric")
    windows = sliding_window_view(padded, (SIZE, SIZE))[::STRIDE, ::STRIDE]
    patches = windows.reshape(-1, SIZE * SIZE)
    return patches - patches.mean(1, keepdims=True), windows.shape[:2]


def code_lengths(patches: np.ndarray, dictionary: np.ndarray) -> np.ndarray:
    """How many atoms orthogonal matching pursuit takes until a patch's error is at most `ERROR`, int (N,).

    patches: (N, D); dictionary: (D, atoms), columns of length 1. At most `LONGEST`, which is also the answer
    for what the atoms cannot make.

    All patches take their steps together, on correlations alone: with the atoms' Gram matrix the residual
    itself is never needed. Each chosen atom is made orthogonal to those before it; `directions` holds the
    correlations of these with all atoms, `onto` those of the residual.
    """
    dictionary = dictionary.astype(np.float64)
    gram = dictionary.T @ dictionary
    tolerance = patches.shape[1] * ERROR**2
    lengths = np.zeros(len(patches), int)

    energy = (patches**2).sum(1)
    open_ = np.flatnonzero(energy > tolerance)
    energy = energy[open_]
    onto = patches[open_] @ dictionary
    directions = np.empty((len(open_), LONGEST, len(gram)))
    for taken in range(LONGEST):
        if len(open_) == 0:
            break
        lengths[open_] += 1
        rows = np.arange(len(open_))
        best = np.abs(onto).argmax(1)
        before = directions[rows, :taken, best]
        left = gram[best, best] - (before**2).sum(1)
        # An atom that the others already make: nothing is to be had from this dictionary any more.
        stuck = left < NEW
        lengths[open_[stuck]] = LONGEST
        length = np.sqrt(np.where(stuck, 1, left))[:, None]
        direction = (gram[best] - (before[:, None] @ directions[:, :taken])[:, 0]) / length
        step = onto[rows, best] / length[:, 0]
        onto -= step[:, None] * direction
        energy -= step**2
        directions[:, taken] = direction
        on = (energy > tolerance) & ~stuck
        if not on.all():
            open_, energy, onto, directions = open_[on], energy[on], onto[on], directions[on]
    return lengths


def between(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Values at the patches' centres as an image of the given (H, W), linear between them."""
    # An even patch has its centre half a pixel before its pixel.
    centres = [(np.arange(size) + 0.5) / STRIDE for size in shape]
    return map_coordinates(values, np.meshgrid(*centres, indexing="ij"), order=1, mode="nearest")


def learn(photos: PhotoSet, seed: int = 0, progress: bool = True) -> dict[str, np.ndarray]:
    """Learn the dictionary from photographs: {"dictionary": float32 (64, 64), one atom a column of length 1}.

    No mask is looked at. Patches that hold next to nothing are left out, the others brought to one length.
    """
    # Imported here, because it takes seconds and only learning needs it.
    from sklearn.decomposition import MiniBatchDictionaryLearning

    random = np.random.default_rng(seed)
    found = []
    for photo in tqdm(photos[::EVERY], desc="jnb", disable=not progress):
        grey = np.asarray(Image.fromarray(photo.image).convert("L")) / 255
        patches, _ = patches_of(gaussian_filter(grey, BLUR))
        patches = patches[patches.var(1) > 1e-4]
        found.append(patches[random.permutation(len(patches))[:SAMPLES]])
    patches = np.concatenate(found)
    patches /= np.linalg.norm(patches, axis=1, keepdims=True)
    learner = MiniBatchDictionaryLearning(ATOMS, alpha=0.1, max_iter=10, batch_size=256, random_state=seed)
    atoms = learner.fit(patches).components_.T
    return {"dictionary": (atoms / np.linalg.norm(atoms, axis=0)).astype(np.float32)}
