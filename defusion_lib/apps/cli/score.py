"""`defusion score`: a folder of maps against the masks of a data set, beside other methods."""

import click

from defusion_lib.apps.cli.terminal import json_option, report

PROTOCOLS = ("main", "d-dffnet", "all")


@click.command()
@click.argument("maps", type=click.Path())
@click.option("--data", required=True, help="The data set that the maps are of, such as shi, szu or folder.")
@click.option("--root", default="", help="The folder of the data set; data/NAME where left out.")
@click.option("--split", default="dutlab100", show_default=True,
              help="Which 100 of Shi's photos are for testing: dutlab100 or last100.")  # fmt: skip
@click.option("--part", type=click.Choice(["test", "all"]), default="test", show_default=True,
              help="The photos of a folder of yours: its test part, or all of it.")  # fmt: skip
@click.option("--white", type=click.Choice(["blurred", "focus"]), help="What white means in the masks of a folder.")
@click.option("--count", type=click.IntRange(1), default=16, show_default=True, help="Photos of the synthetic set.")
@click.option("--method", default="", help="The name of your method; the folder's name where left out.")
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="main", show_default=True,
              help="main: MAE, max F of both classes, F at 0.5, AUC; d-dffnet: MAE and F at 0.5; all: every measure of "
                   "notebook 05a.")  # fmt: skip
@click.option("--against", default="defusionnet,jnb,ss,lbp,ksfv", show_default=True,
              help="Methods to compare with, or none. The default leaves out dbdf (0.8 s for a photo of 640 x 427 "
                   "pixels on one core) and hifst (2.3 s), which take longest.")  # fmt: skip
@click.option("--invert", is_flag=True, help="White means in focus in the maps.")
@click.option("--allow-missing", is_flag=True, help="Leave out photos without a map, for all methods.")
@click.option("--into", type=click.Path(), help="The folder for the results; MAPS_scores where left out.")
@json_option
def score(maps, data, root, split, part, white, count, method, protocol, against, invert, allow_missing, into, as_json):
    """Score your method's maps beside DeFusionNet and classical methods, on the same photos.

    MAPS is a folder with one map per photo, under the photo's name: grey pictures (PNG, JPEG, ...), 255 = blurred, or
    NumPy arrays (.npy), 1 = blurred. Maps of another size than their photo are resized bilinearly.

    \b
      defusion score my_maps --data shi                           the table of Shi's 100 test photos
      defusion score my_maps --data shi --protocol all            every protocol of the field
      defusion score my_maps --data folder --root my_data --invert --against defusionnet,hifst

    Prints the row of your method and of each other one with bootstrap standard errors, and the paired differences
    between them with p-values corrected for their number (Holm). Writes scores.json, scores.csv, rows.md and rows.tex
    to paste, curves, and the ten photos where your method and the first other one differ most. The maps of the other
    methods are computed once, and stored for the next time.
    """
    from pathlib import Path

    from defusion_lib import paths
    from defusion_lib.data.datasets import DATASETS, open_dataset
    from defusion_lib.data.shi import SPLITS
    from defusion_lib.evaluation.own_maps import PROTOCOLS, columns_of, difference_rows, score_rows, turned
    from defusion_lib.evaluation.tables import table
    from defusion_lib.experiments.own_row import document, score_maps, title, write_row

    for option, value, choices in (("--data", data, DATASETS), ("--split", split, SPLITS)):
        if value not in choices:
            raise ValueError(f"{option} {value} does not exist: choose one of {', '.join(choices)}.")
    names = [] if against == "none" else [name.strip() for name in against.split(",") if name.strip()]
    folder = paths.locate(maps)
    photos = open_dataset(data, part, root, split, count, white=white or "")
    row = score_maps(folder, photos, method, names, protocol, invert, allow_missing)
    for note in row.notes:
        click.echo(f"Note: {note}", err=True)
    beside = Path(folder).resolve()
    written = write_row(row, into or beside.with_name(f"{beside.name}_scores"))

    comparison, columns = row.comparison, columns_of(protocol)
    rows = score_rows(comparison, columns)
    text = [f"{title(row)}; ± is the bootstrap standard error"]
    text.append(table(rows if protocol != "all" else turned(score_rows(comparison, PROTOCOLS[protocol]))).to_string())
    if len(rows) > 1:
        text += ["", table(difference_rows(comparison, columns)).to_string()]
    text += ["", f"wrote {', '.join(path.name for path in written)} into {paths.display_path(written[0].parent)}"]
    report(document(row), "\n".join(text), as_json)
