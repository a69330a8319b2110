"""Draw what the panels show as still figures."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np

from defusion_lib.apps.explorer.analysis import WHITE_RADIUS, Capture, PhotoAnalysis, radius_levels
from defusion_lib.cam_hooks import CamKey
from defusion_lib.plots import COLOURS, Drawing, as_levels, sheet


def stage_names(analysis: PhotoAnalysis) -> dict[str, str]:
    """Return the stages of an analysis with their names in words, in the order in which they are computed."""
    steps = {stage: f"after step {stage.removeprefix('after')}" for stage in analysis.stages if stage != "fused"}
    return steps | {"fused": "final map"}


def draw_stages(analyses: Mapping[str, PhotoAnalysis]) -> Drawing:
    """Draw two photos, their masks where they have one, and the map after each step; {photo: its analysis}."""
    first, second = analyses.values()
    names = stage_names(first)
    rows = {
        photo: [
            analysis.photo.image,
            None if analysis.photo.mask is None else as_levels(analysis.photo.mask),
            *(analysis.stages[stage] for stage in names),
        ]
        for photo, analysis in analyses.items()
    }
    return Drawing(
        "explorer_stages",
        sheet(rows, ["photo", "mask", *names.values()]),
        "Two photos, the exact mask where there is one, and the network's map after each recurrent step; white is "
        "blurred.",
        {
            "first": np.stack([first.stages[stage] for stage in names]),
            "second": np.stack([second.stages[stage] for stage in names]),
        },
    )


def draw_side_outputs(analyses: Mapping[str, PhotoAnalysis]) -> Drawing:
    """Draw the six side outputs of the last step for two photos; {photo: its analysis}."""
    first, second = (analysis.sides[-1] for analysis in analyses.values())
    return Drawing(
        "explorer_side_outputs",
        sheet(
            {photo: analysis.sides[-1] for photo, analysis in analyses.items()},
            [f"O{i}" for i in range(1, len(first) + 1)],
        ),
        "The six side outputs of the last step for two photos (white = blurred), from the shallowest layer on the left "
        "to the deepest on the right.",
        {"first": np.stack(first), "second": np.stack(second)},
    )


def draw_weights(analyses: Mapping[str, PhotoAnalysis], place: CamKey) -> Drawing:
    """Draw the weights of one CAM for two photos, channel by channel; {photo: its analysis}."""
    (name, first), (other, second) = ((photo, each.channels[place].weights) for photo, each in analyses.items())
    figure, axis = plt.subplots(figsize=(9, 2.8), layout="constrained")
    number = np.arange(1, len(first) + 1)
    axis.bar(number, first, color=COLOURS[0], label=name)
    axis.plot(number, second, "_", color="black", markersize=5, label=other)
    axis.set(xlabel="channel, 32 from each layer", ylabel="weight (Eq. 6)", xlim=(0, len(number) + 1), ylim=(0, 1))
    axis.set_title(f"CAM of step {place[0]}, {place[1]} layers")
    figure.legend(loc="outside upper right", ncols=2)
    return Drawing(
        "explorer_weights",
        figure,
        "The weights of the channels of one CAM: bars for one photo, strokes for the other. Where they differ, the "
        "weight depends on the photo.",
        {"first": first, "second": second},
    )


def draw_captures(captures: Mapping[float, Capture]) -> Drawing:
    """Draw images that the camera rendered through several apertures; {aperture in mm: its capture}."""
    rows = {
        f"aperture {aperture:g} mm": [
            capture.rendering.image,
            radius_levels(capture.rendering.radius),
            as_levels(capture.rendering.mask),
            capture.levels,
        ]
        for aperture, capture in captures.items()
    }
    titles = ["image", f"true radius, 0 to {WHITE_RADIUS:g} px", "mask: above 1 px", "network's map"]
    return Drawing(
        "explorer_camera",
        sheet(rows, titles),
        "One scene through several apertures, the first on top: the rendered image, the true radius of the blur (white "
        "is largest), the exact mask and the network's map (white is blurred).",
        {
            "radii": np.stack([images[1] for images in rows.values()]),
            "maps": np.stack([images[3] for images in rows.values()]),
        },
    )
