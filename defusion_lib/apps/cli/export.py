"""`defusion export`: a network as ONNX or TorchScript."""

import click

from defusion_lib.apps.cli.terminal import json_option, report


@click.command()
@click.argument("into", metavar="MODEL.onnx|MODEL.ts")
@click.option("--network", default="shipped", show_default=True, help="A network file, or the one in the package.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Of the weights. fp16 is half the size, int8 a quarter (ONNX only).",
)
@click.option("--size", type=int, help="Pixels a side for photos, in the metadata (default: those of the training).")
@json_option
def export(into: str, network: str, precision: str, size: int | None, as_json: bool) -> None:
    """Write a network as a file for other programs.

    The file takes photos as RGB / 255, float32 (batch, 3, height, width) of any batch, height and width, and returns
    maps (batch, 1, height, width) in 0..1, 1 = out of focus. Its metadata say so, with the size that the network was
    trained at, the hash of its weights and their licence. It is compared with torch before it gets its name, an int8
    file with the network of the rounded weights.

    \b
      defusion export defocus.onnx                      the network in the package, 71 MB
      defusion export small.onnx --precision int8       the same with weights of 8 bits, 18 MB
      defusion export mine.ts --network weights/mine.safetensors

    MODEL.onnx runs in ONNX Runtime and what else reads ONNX, and needs: pip install "defusion-lib[export]".
    MODEL.ts (TorchScript) is loaded by torch.jit.load, in Python or C++.
    """
    from defusion_lib.export import export_network
    from defusion_lib.paths import locate
    from defusion_lib.weights import load_network, read_card, resolve

    file = resolve(locate(network, "shipped"))
    written = export_network(load_network(file), into, read_card(file), precision, size)
    torch = "torch's with the same rounded weights" if precision == "int8" else "torch's"
    text = (
        f"{into}: {written['bytes'] / 1e6:.1f} MB, {precision}; largest difference of its maps from {torch}: "
        f"{written['largest-difference']:.1e}"
    )
    report(written, text, as_json)
