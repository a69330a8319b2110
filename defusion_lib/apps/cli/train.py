"""`defusion train`: train the network on photos with masks."""

from math import isfinite

import click

from defusion_lib.apps.cli.terminal import json_option, report


class HeldOut(click.ParamType):
    """A whole number of photos, or a share of them with a point."""

    name = "number|share"

    def convert(self, value, param, ctx):
        """Return an int or a float."""
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                pass
        self.fail(f"{value!r} is neither a number of photos such as 20 nor a share such as 0.1.", param, ctx)


def _finite(error: float) -> float | None:
    """Return an error, or None for that of one photo, which has none."""
    return error if isfinite(error) else None


@click.command()
@click.option(
    "--data", "dataset", default="folder", show_default=True, help="Data set, such as folder, shi or synthetic."
)
@click.option("--root", default="", help="Its folder; for `folder`, photos and a folder masks.")
@click.option("--white", default="", help="What white means in the masks of a folder: blurred (default) or focus.")
@click.option("--split", default="dutlab100", show_default=True, help="Split of Shi's set: dutlab100 or last100.")
@click.option("--held-out", type=HeldOut(), help="Photos of a folder to score on: a number or a share.  [default: 0.2]")
@click.option("--recipe", default="cpu", show_default=True, help="cpu, frozen (VGG-16 as it is) or paper (for a GPU).")
@click.option("--iterations", type=click.IntRange(min=1), help="Iterations of all stages; default: the recipe's.")
@click.option("--begin-with", help="A trained network to go on from: its file, or shipped.")
@click.option("--backbone", help="VGG-16: shipped, imagenet, random, or a file.  [default: shipped]")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@click.option("--into", type=click.Path(file_okay=False), help="Folder of the results.  [default: trained/<data set>]")
@json_option
def train(dataset, root, white, split, held_out, recipe, iterations, begin_with, backbone, seed, into, as_json) -> None:
    """Train a network on photos with masks, and score it on photos that are held out.

    A folder of your own holds photos and a folder masks, with each mask under its photo's name, white where the photo
    is blurred. About a fifth of the photos, chosen by their names, is held out; where the folder holds the folders
    train and test, these are the parts. Photos and masks are checked first. Then the time that the training takes is
    estimated: one to three hours with recipe cpu on two cores.

    \b
    Examples:
      defusion train --root my_data                           recipe cpu, into trained/folder-my-data
      defusion train --root my_data --begin-with shipped --iterations 400
      defusion train --data shi --root data/shi --backbone imagenet --into trained/shi
      defusion train --data synthetic --iterations 30         rendered photos, a try in minutes

    Writes network.safetensors (for `defusion map --network` and load_network), curve.png, and card.md with the scores,
    their standard errors and all that made the network. A run that was stopped or killed resumes when the same command
    is given again, and ends with the same weights as an undisturbed one, with the same number of threads
    (OMP_NUM_THREADS). Exit codes: 0 done, 2 wrong usage or data, 130 stopped by Ctrl-C.
    """
    from pathlib import Path

    from defusion_lib.apps.cli.process import settle
    from defusion_lib.data.datasets import DATASETS, open_dataset
    from defusion_lib.experiments.training_run import backbone_file, plan, train_network
    from defusion_lib.paths import locate
    from defusion_lib.weights import resolve

    trainable = [name for name, each in DATASETS.items() if "train" in each.parts]
    if dataset not in trainable:
        raise ValueError(f"--data {dataset} cannot be trained on: choose one of {', '.join(trainable)}.")
    if backbone and begin_with:
        raise ValueError(
            f"--backbone {backbone} has no effect beside --begin-with, whose network has one: leave it out."
        )
    backbone = backbone or "shipped"
    steps = plan(recipe, iterations, seed)
    photos, scored = (
        open_dataset(dataset, part, root, split, seed=seed, white=white, held_out=held_out)
        for part in ("train", "test")
    )
    done = train_network(
        photos,
        scored,
        steps,
        Path(into or f"trained/{photos.name}"),
        backbone_file(backbone),
        begin_with and resolve(str(locate(begin_with, "shipped"))),
        settle(),
        lambda words: click.echo(words, err=True),
    )
    files = {"network": done.network, "curve": done.curve, "card": done.words}
    result = {
        "files": {name: str(path) for name, path in files.items()},
        "data": done.card["data"],
        "held_out": done.card["held_out"],
        "recipe": done.card["recipe"],
        "scores": {
            network: {measure: {"mean": mean, "se": _finite(error)} for measure, (mean, error) in values.items()}
            for network, values in done.scores.items()
        },
    }
    lines = [f"On the {len(scored)} photos held out (mean ± standard error):"]
    for network, values in done.scores.items():
        numbers = [
            f"{measure} {mean:.3f}" + (f" ± {error:.3f}" if isfinite(error) else "")
            for measure, (mean, error) in values.items()
        ]
        lines.append(f"  {network}: " + ", ".join(numbers))
    report(result, "\n".join(lines + [f"Written: {', '.join(map(str, files.values()))}"]), as_json)
