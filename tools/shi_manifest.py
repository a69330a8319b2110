"""Write the manifest of a copy of Shi's photos.

    python -m tools.shi_manifest data/shi defusion_lib/data/shi_manifest.json

wrote the committed manifest from a complete copy.
"""

import argparse
import json
from pathlib import Path

from defusion_lib.data.files import read_photo
from defusion_lib.data.shi import find_files, sha256_of
from defusion_lib.paths import write_atomically


def write_manifest(root: Path, path: Path) -> None:
    """Write the manifest of a copy whose masks are white = blurred, for `shi.read_manifest`.

    Raises FileNotFoundError for missing folders, ValueError for files that cannot be read or masks whose size is not
    their photo's.
    """
    columns = ["width", "height", "blurred_share", "image_sha256", "mask_sha256"]
    rows = {}
    for stem, (image, mask) in find_files(root).items():
        photo = read_photo(stem, image, mask, white="blurred")
        height, width = photo.mask.shape
        rows[stem] = [width, height, round(float(photo.mask.mean()), 4), sha256_of(image), sha256_of(mask)]
    lines = ",\n".join(f"{json.dumps(stem)}: {json.dumps(row)}" for stem, row in rows.items())
    text = f'{{"white": "blurred", "columns": {json.dumps(columns)}, "photographs": {{\n{lines}\n}}}}\n'
    write_atomically(path, text.encode("ascii"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.shi_manifest", description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path, help="the folder of the copy")
    parser.add_argument("path", type=Path, help="the file to write")
    given = parser.parse_args()
    write_manifest(given.root, given.path)
