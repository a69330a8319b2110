"""`defusion map`: maps, a table, contact sheets and a gallery for photos."""

from collections import Counter
from typing import Any

import click

from defusion_lib.apps.cli.terminal import finish, json_option, report

MIN_SIZE = 64  # pixels: the verdict of a smaller input tells nothing


def check_size(context: click.Context, parameter: click.Parameter, size: int) -> int:
    """Return `size`; raises BadParameter where it is too small for a verdict."""
    if 0 < size < MIN_SIZE:
        raise click.BadParameter(f"{size} is too small for a verdict: expected 0, or {MIN_SIZE} to 2048.")
    return size


@click.command("map")
@click.argument("photos", nargs=-1, type=click.Path(exists=True), metavar="PHOTO...|FOLDER")
@click.option("--recursive", is_flag=True, help="Map the photos in subfolders too, but not in linked ones.")
@click.option(
    "--into", metavar="DIR", default="", help="The folder for the results; default: FOLDER_defocus beside it."
)
@click.option(
    "--size",
    type=click.IntRange(0, 2048),
    callback=check_size,
    default=320,
    show_default=True,
    help=f"Pixels per side of the network's input, at least {MIN_SIZE}; 0 for full resolution, in tiles, which takes "
    "minutes per photo.",
)
@click.option("--refine", is_flag=True, help="Let the borders of maps follow the photo's edges; reads photos whole.")
@click.option(
    "--network", "file", default="shipped", metavar="FILE", help="A network of yours; default: the one in the package."
)
@click.option(
    "--batch",
    type=click.IntRange(1),
    metavar="N",
    help="Photos that the network sees at once; default: 8 on a GPU; on a CPU 1 for each core, at most 4, and 1 for a "
    "--size above 384.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Threads that read and write beside the network; default: one per core, at most 8.",
)
@click.option("--shard", metavar="I/N", help="Map only part I of N, to share a folder between jobs or machines.")
@click.option("--merge", is_flag=True, help="Join the shards in --into: table, contact sheets and gallery.")
@click.option(
    "--formats",
    type=click.Choice(["png", "png,npy"]),
    default="png",
    show_default=True,
    help="With npy, each map is also a NumPy file: float16 of shape (H, W) in [0, 1], 1 = out of focus.",
)
@json_option
def map_photos(
    photos: tuple[str, ...],
    recursive: bool,
    into: str,
    size: int,
    refine: bool,
    file: str,
    batch: int | None,
    jobs: int | None,
    shard: str | None,
    merge: bool,
    formats: str,
    as_json: bool,
) -> None:
    """Map photos: one defocus map each, a table, contact sheets and a gallery.

    A map is a grey PNG file of the photo's size, white where it is out of focus. The photos are only read. Run it again
    after an interruption, or when photos were added: it maps only what is missing or has changed.

    \b
    Examples:
      defusion map my_photos                      the photos of a folder
      defusion map my_photos --recursive          and of its subfolders
      defusion map a.jpg b.jpg --into maps        some photos
      defusion map my_photos --into maps --shard 3/16
                                                  one of sixteen jobs; they may run at the same time
      defusion map --merge --into maps            what follows the last of them

    Results in DIR: album.csv for a spreadsheet (score, verdict, ...), gallery.html for a browser, contact_sheet_001.png
    and more, NAME_defocus.png for each photo. During a run, finished rows are in album.journal; the table is written
    at the end.
    """
    if merge:
        if photos or shard or not into:
            raise click.UsageError("--merge takes --into DIR and no photos: defusion map --merge --into DIR")
    elif not photos:
        raise click.UsageError("Give a folder or photos: defusion map my_photos")
    # Imported here: `defusion --help` answers at once.
    from pathlib import Path

    import torch

    from defusion_lib.apps import photo_folder
    from defusion_lib.weights import load_network, resolve

    whole = Path(photos[0]) if len(photos) == 1 and Path(photos[0]).is_dir() else None
    if merge:
        found = photo_folder.merge(into, pages=True)
    else:
        part = photo_folder.parse_shard(shard) if shard else None
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = load_network(resolve(file), device)
        found = photo_folder.map_folder(
            whole or photos,
            network,
            size,
            into,
            recursive=recursive,
            batch=batch or 0,
            jobs=jobs or 0,
            shard=part,
            floats=formats == "png,npy",
            refined=refine,
            pages=True,
        )
    failed = {}
    for row in found.rows:
        if row.problem:
            name = photo_folder.printable(row.file)
            failed[name] = row.problem.removeprefix(f"{name} ")
    good = [row for row in found.rows if not row.problem]
    skipped = photo_folder.count_skipped(whole, recursive) if whole else {}
    result: dict[str, Any] = {
        "into": photo_folder.printable(str(found.into)),
        "mapped": len(good),
        "reused": found.reused,
        "failed": failed,
        "skipped": {photo_folder.printable(kind): number for kind, number in sorted(skipped.items())},
        "verdicts": dict(sorted(Counter(row.verdict for row in good).items())),
        "photos": [
            row._asdict() | {"file": photo_folder.printable(row.file), "map": photo_folder.printable(row.map)}
            for row in good
        ],
    }
    if found.pages:
        gallery, *sheets = found.pages
        result |= {"gallery": photo_folder.printable(str(gallery)), "contact_sheets": len(sheets)}
    report(result, _text(result), as_json)
    finish(failed)


def _text(result: dict) -> str:
    """Return the result in some lines for people."""
    counted = ", ".join(f"{number} {name}" for name, number in result["verdicts"].items())
    mapped, failed = result["mapped"], len(result["failed"])
    lines = ["1 photo has a map" if mapped == 1 else f"{mapped} photos have maps"]
    lines[0] += f", {result['reused']} from earlier runs"
    if counted:
        lines[0] += f": {counted}"
    if result["skipped"]:
        lines.append("skipped files: " + ", ".join(f"{kind} ({number})" for kind, number in result["skipped"].items()))
    if failed:
        photos = "1 photo has no map, and is" if failed == 1 else f"{failed} photos have no map, and are"
        lines.append(f"{photos} named below")
    if "gallery" in result:
        lines.append(f"results: {result['gallery']} and the files beside it")
    else:
        lines.append(f"results: {result['into']}; after the last shard: defusion map --merge --into {result['into']}")
    return "\n".join(lines)
