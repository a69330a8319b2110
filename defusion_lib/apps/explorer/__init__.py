"""The explorer of notebook 14: panels to look into the network and to turn a camera, and the same as still figures.

`analysis` computes, `markup` and `stills` draw, `worker` runs computations beside the controls, and `panels` holds the
widgets.
"""

from defusion_lib.apps.explorer.analysis import SCENE_SHAPE, analyse, capture, photo_choices, score_map
from defusion_lib.apps.explorer.markup import describe_scores
from defusion_lib.apps.explorer.panels import CameraPanel, PhotoPanel, show_panel
from defusion_lib.apps.explorer.stills import draw_captures, draw_side_outputs, draw_stages, draw_weights, stage_names

__all__ = [
    "SCENE_SHAPE",
    "CameraPanel",
    "PhotoPanel",
    "analyse",
    "capture",
    "describe_scores",
    "draw_captures",
    "draw_side_outputs",
    "draw_stages",
    "draw_weights",
    "photo_choices",
    "score_map",
    "show_panel",
    "stage_names",
]
