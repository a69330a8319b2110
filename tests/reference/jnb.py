"""The plain version of JNB's core: one patch at a time, one least-squares fit for each atom taken."""

import numpy as np


def patches_of(grey, stride=4):
    """Stands for `defusion_lib.baselines.classical.jnb.patches_of`: 8 x 8 pixels, mirrored at the borders."""
    height, width = grey.shape
    patches = []
    for top in range(0, height, stride):
        for left in range(0, width, stride):
            patch = np.empty((8, 8))
            for i in range(8):
                for j in range(8):
                    patch[i, j] = grey[mirrored(top + i - 4, height), mirrored(left + j - 4, width)]
            patches.append((patch - patch.mean()).ravel())
    return np.array(patches), (-(-height // stride), -(-width // stride))


def mirrored(position, size):
    while not 0 <= position < size:
        position = -1 - position if position < 0 else 2 * size - 1 - position
    return position


def code_lengths(patches, dictionary, error=2.5 / 255, longest=40, new=1e-6):
    """Stands for `defusion_lib.baselines.classical.jnb.code_lengths`: orthogonal matching pursuit by its definition."""
    lengths = []
    for patch in patches:
        chosen, residual = [], patch
        while np.sqrt(np.mean(residual**2)) > error and len(chosen) < longest:
            best = int(np.abs(dictionary.T @ residual).argmax())
            atoms, atom = dictionary[:, chosen], dictionary[:, best]
            rest = atom - atoms @ np.linalg.lstsq(atoms, atom, rcond=None)[0]
            if np.sum(rest**2) < new:
                # Only what the dictionary cannot make is left.
                chosen = [0] * longest
                break
            chosen.append(best)
            atoms = dictionary[:, chosen]
            residual = patch - atoms @ np.linalg.lstsq(atoms, patch, rcond=None)[0]
        lengths.append(len(chosen))
    return np.array(lengths)
