"""JNB: blur as the number of dictionary atoms that a patch needs.

Shi, Xu and Jia, "Just Noticeable Defocus Blur Detection and Estimation" (CVPR 2015). A dictionary is learnt from
slightly blurred patches. A blurred patch is then the sum of a few of its atoms, a sharp one needs many: the length
of the sparse code is the blur feature. The feature is mapped to an amount of blur and smoothed without crossing the
edges of the photo.

We did not have the authors' code. Patches of 8 x 8 and a small blur follow the usual descriptions of the paper. Our
readings: a greedy code (orthogonal matching pursuit up to a fixed error) for the paper's l1 code, the domain
transform for its smoothing, and a straight line from feature to blur where the paper fits a curve on known blurs.
The error, the longest code, the line and the smoothing were chosen to agree with published maps of the original for
training photos: those maps decrease linearly with the code's length.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from scipy.ndimage import gaussian_filter

from defusion_lib.baselines.domain_transform import domain_transform
from defusion_lib.baselines.fitted import SPLIT, load_fitted
from defusion_lib.baselines.images import interpolate_windows
from defusion_lib.baselines.wrapper import classical_method
from defusion_lib.data import PhotoSet
from defusion_lib.progress import tqdm
from defusion_lib.stopping import tick

SIZE = 8  # pixels: the side of a patch
STRIDE = 4  # pixels between patches
ERROR = 2.5 / 255  # root mean square difference, of a grey value, at which a code is good enough
MAX_ATOMS = 40  # of a code
MIN_NEW_ENERGY = 1e-6  # squared length of an atom's part that is orthogonal to the chosen atoms
SHARPNESS_RANGE = 0.82  # the longest code reduces the blur by this
REACH, CONTRAST = 8, 2  # of the smoothing: pixels, and change of the image (sum over R, G, B, each 0-1)

ATOMS = 64
BLUR = 1.5  # pixels: Gaussian sigma, before the dictionary is learnt
PHOTO_STEP, SAMPLES = 8, 300  # every eighth photo is used for learning, and this many patches of it
BLOCK = 1024  # patches coded together, few enough for the processor's cache


@classical_method
def detect(image, progress, split=SPLIT):
    """Compute JNB's defocus map: lengths of sparse codes as blur, smoothed between the edges of the image."""
    dictionary = load_fitted("jnb", split)["dictionary"]
    grey = np.asarray(Image.fromarray(image).convert("L")) / 255
    patches, grid = patches_of(grey)
    blocks = range(0, len(patches), BLOCK)
    lengths = np.concatenate(
        [
            code_lengths(patches[start : start + BLOCK], dictionary)
            for start in tqdm(blocks, desc="jnb", disable=not progress, leave=False)
        ]
    )
    blur = 1 - SHARPNESS_RANGE / MAX_ATOMS * lengths.reshape(grid)
    return domain_transform(interpolate_windows(blur, STRIDE, grey.shape), image / 255, REACH, CONTRAST)


def patches_of(grey: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the patches (N, 64) around every fourth pixel of (H, W) without their means, and the (rows, columns).

    The image is mirrored at its borders.
    """
    padded = np.pad(grey, (SIZE // 2, SIZE // 2 - 1), mode="symmetric")
    windows = sliding_window_view(padded, (SIZE, SIZE))[::STRIDE, ::STRIDE]
    patches = windows.reshape(-1, SIZE * SIZE)
    return patches - patches.mean(1, keepdims=True), windows.shape[:2]


def code_lengths(patches: np.ndarray, dictionary: np.ndarray) -> np.ndarray:
    """Count the atoms that orthogonal matching pursuit needs until a patch's error is at most `ERROR`, int (N,).

    `patches` is (N, D), `dictionary` (D, atoms) with columns of length 1. The count is `MAX_ATOMS` at most, also for
    patches that the atoms cannot represent.

    All patches are coded together, from correlations only: with the atoms' Gram matrix the residual itself is never
    computed. Each chosen atom is made orthogonal to the previous ones; `directions` holds the correlations of these
    orthogonal atoms with all atoms, `onto` those of the residual.
    """
    dictionary = dictionary.astype(np.float64)
    gram = dictionary.T @ dictionary
    tolerance = patches.shape[1] * ERROR**2
    lengths = np.zeros(len(patches), int)

    energy = (patches**2).sum(1)
    open_ = np.flatnonzero(energy > tolerance)
    energy = energy[open_]
    onto = patches[open_] @ dictionary
    directions = np.empty((len(open_), MAX_ATOMS, len(gram)))
    for taken in range(MAX_ATOMS):
        tick()
        if len(open_) == 0:
            break
        lengths[open_] += 1
        rows = np.arange(len(open_))
        best = np.abs(onto).argmax(1)
        before = directions[rows, :taken, best]
        left = gram[best, best] - (before**2).sum(1)
        # The atom is a combination of the chosen ones: this dictionary cannot reduce the error further.
        stuck = left < MIN_NEW_ENERGY
        lengths[open_[stuck]] = MAX_ATOMS
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


def learn(photos: PhotoSet, seed: int = 0, progress: bool = True) -> dict[str, np.ndarray]:
    """Learn the dictionary from photos: {"dictionary": float32 (64, 64), one atom per column, of length 1}.

    Masks are not used. Patches of almost no contrast are skipped, the others normalised to length 1.
    """
    # Imported here, because it takes seconds and only learning needs it.
    from sklearn.decomposition import MiniBatchDictionaryLearning

    random = np.random.default_rng(seed)
    found = []
    for photo in tqdm(photos[::PHOTO_STEP], desc="jnb", disable=not progress):
        grey = np.asarray(Image.fromarray(photo.image).convert("L")) / 255
        patches, _ = patches_of(gaussian_filter(grey, BLUR))
        patches = patches[patches.var(1) > 1e-4]
        found.append(patches[random.permutation(len(patches))[:SAMPLES]])
    patches = np.concatenate(found)
    patches /= np.linalg.norm(patches, axis=1, keepdims=True)
    learner = MiniBatchDictionaryLearning(ATOMS, alpha=0.1, max_iter=10, batch_size=256, random_state=seed)
    atoms = learner.fit(patches).components_.T
    return {"dictionary": (atoms / np.linalg.norm(atoms, axis=0)).astype(np.float32)}
