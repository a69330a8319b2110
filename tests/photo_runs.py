"""Small photos and a stand-in network for the tests of folders of photos, in this process and in others."""

import sys

import numpy as np
import torch
from PIL import Image

from defusion_lib.apps import photo_folder
from defusion_lib.network import Maps

SIZE = 32


class Bright(torch.nn.Module):
    """Calls blurred what is bright, and counts what it was asked; at `stop_at` it stops the run."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(8.0))
        self.asked, self.stop_at = 0, None

    def forward(self, photo):
        self.asked += 1
        if self.asked == self.stop_at:
            raise KeyboardInterrupt
        return Maps(self.scale * (photo.mean(dim=1, keepdim=True) - 0.5), [])


def scene(height=60, width=80, bright=20):
    """A photograph whose first `bright` columns are bright, with some texture."""
    texture = np.random.default_rng(0).integers(0, 30, (height, width))
    grey = np.where(np.arange(width) < bright, 225, 25) + texture
    return np.stack([grey, grey - 10, grey], axis=-1).astype(np.uint8)


def fill(folder, names, **what):
    for name in names:
        Image.fromarray(scene(**what)).save(folder / name)


if __name__ == "__main__":  # a run that a test kills: photos, maps, batch, threads
    photos, into, batch, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    photo_folder.map_folder(photos, Bright(), SIZE, into, recursive=True, progress=False, batch=int(batch))
