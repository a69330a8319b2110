"""Render what `defusion map --refine` and `defusion export` gain and lose, for outputs/README.md."""

from pathlib import Path

from tools.render_findings import SHI, network_words
from tools.render_results import photos, result, rows_of, signed

REFINED = {
    "shi-dutlab100": "Shi's test photos",
    "shi-dutlab100-1mp": "the same, enlarged to 1 megapixel",
    "shi-dutlab100-12mp": "some of them, enlarged to 12 megapixels",
    "rendered-12mp": "rendered scenes of 12 megapixels",
    "rendered-12mp-perfect": "the same, with the map of a perfect network",
}
EXPORTED = {"box/export_loss": "the network in the package", "cpu/export_loss": "that of notebook 03"}
PRECISIONS = {"fp32": "weights of 32 bits", "fp16": "16 bits", "int8": "8 bits"}

PAGE = """## Refined maps

`defusion map --refine` lets the borders of a map follow the photo's edges. "MAE" is that of maps that are only
enlarged, in the whole photo and near borders (8 pixels on each side of a mask's border at 1 megapixel, and in
proportion at other sizes). "Refined" is the change by `--refine` on the same photos (± standard error). "Minus
sharpened" is the MAE of refined maps minus that of maps that are sharpened as much without the photo: this is what the
photo's edges themselves add. "Seconds" is the time of the refinement alone on one core, measured while other programs
ran.

{refined}

Made by {refined_by} (`python -m tools.refinement_gain`). An enlarged photo has no finer edges than the photo.

## Exported files

`defusion export` writes ONNX files. How their maps differ from those of torch on {photos} training photos:

{exported}

The weights of the network in the package have 8 bits already, so an export with 8 bits loses nothing; those of notebook
03, profile cpu, have 16 bits (`python -m tools.export_loss`).
"""


def commands_section(outputs: Path) -> str:
    """Render both tables as Markdown from the result files below `outputs`."""
    gain = result(outputs, "box/refinement_gain")
    rows = []
    for dataset, words in REFINED.items():
        row = [words, f"{gain['values'][f'{dataset}/photos/count']:.0f}"]
        for metric in ("mae", "border-mae"):
            row.append(f"{gain['values'][f'{dataset}/bilinear/{metric}']:.3f}")
            row += [_change(gain, f"{dataset}/refined-less-{each}/{metric}") for each in ("bilinear", "steeper")]
        rows.append([*row, f"{gain['values'][f'{dataset}/refined/seconds']:.2f}"])
    head = ["on", "photos", "MAE", "refined", "minus sharpened"]
    head += ["near borders", "refined", "minus sharpened", "seconds"]
    lost = []
    for name, network in EXPORTED.items():
        content = result(outputs, name)
        (dataset,) = {key.partition("/")[0] for key in content["values"]}
        for precision, words in PRECISIONS.items():
            key = f"{dataset}/onnx-{precision}"
            lost.append(
                [
                    f"{network}, {words}",
                    f"{content['values'][f'{key}/megabytes']:.0f}",
                    *(f"{content['values'][f'{key}/{each}']:.1g}" for each in ("map-difference", "largest-difference")),
                    _change(content, f"{key}/mae-change", 4),
                    f"{content['values'][f'{key}/seconds'] / content['values'][f'{dataset}/torch/seconds']:.2f}",
                ]
            )
    columns = ["ONNX file", "MB", "mean difference", "largest", "change of MAE", "time, torch = 1"]
    return PAGE.format(
        refined=rows_of(head, rows),
        refined_by=network_words(gain, outputs),
        photos=photos(content, SHI),
        exported=rows_of(columns, lost),
    )


def _change(content: dict, key: str, digits: int = 3) -> str:
    """Format a difference with its sign and its standard error."""
    values = content["values"]
    return f"{signed(values[key], digits)} ± {values[f'{key}-se']:.{digits}f}"
