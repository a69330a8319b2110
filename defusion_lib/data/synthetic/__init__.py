"""Layered scenes photographed through a thin lens: the embedded data set, with exact masks."""

from defusion_lib.data.synthetic.scenes import CHALLENGES, SMALLEST_SIDE, garage_scene, make_scene, open_synthetic

__all__ = ["CHALLENGES", "SMALLEST_SIDE", "garage_scene", "make_scene", "open_synthetic"]
