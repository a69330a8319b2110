"""Pack a profile's training and evaluation for a machine without network, git or Jupyter; `make bundle` calls it.

    python -m tools.bundle paper --data data/shi --backbone vgg16.safetensors

writes build/bundle/paper/part1.tar.gz (VGG-16 in half precision) and part2.tar.gz (code, photos, masks), each with
run.py (tools/bundle_run.py) and bundle.json (parameters, commit, and every file's size and SHA-256).
"""

import argparse
import gzip
import io
import json
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import save
from tqdm.auto import tqdm

from defusion_lib.backbone import VGG16
from defusion_lib.data import PhotoSet
from defusion_lib.data.augmentation import resize_to_square
from defusion_lib.data.datasets import open_dataset
from defusion_lib.experiments import training_run
from defusion_lib.paths import display_path, project_root, write_atomically
from defusion_lib.runs.parameters import check_parameters, read_parameters
from defusion_lib.runs.provenance import environment_info
from defusion_lib.weights import load_backbone
from tools.execute import read_profile
from tools.graph import parameters_cell

LIMIT = 30_000_000  # bytes per part
BACKBONE = "vgg16.safetensors"
# Lossless files of 604 and 100 photos would need 100 MB.
TRAINING_JPEG = {"quality": 65, "progressive": True}  # samples keep their detail: median 1.0 of 11 photos in focus
TEST_JPEG = {"quality": 98, "subsampling": "4:4:4", "progressive": True}  # mean error of .65 of 255 levels
PARTS = ("part1.tar.gz", "part2.tar.gz")
NOTEBOOKS = ("03_training", "04_evaluation")
# All modules that run.py needs; they import no more than torch, NumPy, Pillow, safetensors and tqdm.
MODULES = (
    "__init__",
    "backbone",
    "device",
    "freeze",
    "inference",
    "lock",
    "losses",
    "metrics",
    "network",
    "paths",
    "precision",
    "progress",
    "distributed",
    "training",
    "weights",
)
MODULES += ("runs/__init__", "runs/parameters", "runs/provenance", "runs/run")
MODULES += ("data/__init__", "data/augmentation", "data/decoding", "data/effects", "data/files")
MODULES += ("evaluation/__init__", "evaluation/map_scores", "evaluation/protocols")
NEED_SCIPY = ("sharp-square", "blurred-square", "rendered", "half-blur", "blur")  # steps of the augmentation


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after one sentence on stderr."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("profile", help="folder of params/ with 03_training.yaml and 04_evaluation.yaml")
    parser.add_argument("--data", default="", help="folder of the photos; default: the data_root of the profile")
    parser.add_argument("--backbone", default="", help="VGG-16 as safetensors; default: the backbone of the profile")
    options = parser.parse_args(arguments)
    root = project_root()
    try:
        paths = pack(root, options.profile, options.data, options.backbone, root / "build/bundle" / options.profile)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for path in paths:
        print(f"{display_path(path)}: {path.stat().st_size / 1e6:.1f} MB")
    print(f"On the other machine: {' && '.join(f'python -m tarfile -e {part}' for part in PARTS)} && python run.py")
    return 0


def pack(root: Path, profile: str, data: str, backbone: str, folder: Path) -> list[Path]:
    """Write the two parts of a profile's bundle into a folder, and return their paths.

    `root` is the checkout; `data` and `backbone` replace those of the profile where they are not empty. Raises what
    reading parameters, photos and weights raises, and ValueError for a profile that a bundle cannot hold and for a
    part that would be too large.
    """
    parameters = {stem: read(root, profile, stem, data) for stem in NOTEBOOKS}
    training, evaluation = (each["effective"] for each in parameters.values())
    check(profile, training, evaluation)
    weights, words = backbone_file(backbone or training["backbone"])
    size = max(stage[1] for stage in training["stages"])
    # Samples are cut out of photos, turned and reduced: from photos of the samples' size they would be soft.
    longest = 2 * size
    parts = {"train": open_photos(training), "test": open_photos(evaluation)}
    if parts["train"].name != parts["test"].name:
        raise ValueError(
            f"Profile {profile} trains on {parts['train'].name} and evaluates on {parts['test'].name}: a bundle has "
            "one data set."
        )
    content = {f"defusion_lib/{name}.py": (root / f"defusion_lib/{name}.py").read_bytes() for name in MODULES}
    content |= training_files(parts["train"], longest) | test_files(parts["test"], evaluation["size"])
    files = {name: entry(value, PARTS[1]) for name, value in content.items()} | {BACKBONE: entry(weights, PARTS[0])}
    listing = {
        "profile": profile,
        "commit": environment_info()["commit"],
        "parameters": {stem: {name: each[name] for name in ("defaults", "given")} for stem, each in parameters.items()},
        "backbone": f"{words}, in half precision",
        "data_before": training_run.sets_behind(backbone or training["backbone"]),
        "data": {"name": parts["train"].name, "size": size} | {part: photos.stems for part, photos in parts.items()},
        "notes": {
            "bundle": {  # a hash that identifies it, and how its photos were reduced
                "files_sha256": sha256(json.dumps(files, sort_keys=True).encode()).hexdigest(),
                "training_photographs": (
                    f"at most {longest} pixels a side, JPEG of quality {TRAINING_JPEG['quality']}; masks of that size, "
                    "PNG"
                ),
                "test_photographs": (
                    f"{evaluation['size']} x {evaluation['size']} pixels, JPEG of quality {TEST_JPEG['quality']}; "
                    "masks of their own size, PNG"
                ),
            }
        },
        "files": files,
    }
    both = {
        "run.py": (root / "tools/bundle_run.py").read_bytes(),
        "bundle.json": json.dumps(listing, separators=(",", ":")).encode(),
    }
    written = []
    for part, own in zip(PARTS, ({BACKBONE: weights}, content)):
        packed = tar(both | own)
        if len(packed) >= LIMIT:
            raise ValueError(
                f"{part} would have {len(packed) / 1e6:.1f} MB, expected less than {LIMIT / 1e6:.0f}: choose fewer or "
                "smaller photos."
            )
        written.append((folder / part, packed))
    for path, packed in written:
        write_atomically(path, packed)
    return [path for path, _ in written]


def read(root: Path, profile: str, stem: str, data: str) -> dict:
    """Read a notebook's parameters: its `defaults`, those `given` by the profile, and the `effective` ones."""
    path = root / f"params/{profile}/{stem}.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no {display_path(path)}: choose a profile that trains and evaluates, such as paper."
        )
    defaults = read_parameters(parameters_cell(root / f"notebooks/{stem}.ipynb"))
    given = read_profile(profile, path)
    effective = check_parameters(defaults, given | ({"data_root": data} if data else {}), where=stem)
    return {"defaults": defaults, "given": given, "effective": effective}


def check(profile: str, training: dict, evaluation: dict) -> None:
    """Raise ValueError for a profile that a bundle cannot hold."""
    needs = [name for name in training["augmentation"] if name in NEED_SCIPY]
    for wrong, sentence in (
        (training["begin_with"], f"begins with the network {training['begin_with']}, which a bundle does not hold"),
        (training["backbone"] == "random", "begins with random weights, which a bundle does not hold"),
        (needs, f"uses the steps {', '.join(needs)} of the augmentation, which need SciPy"),
        (
            evaluation["weights"] != "trained",
            f"evaluates the network {evaluation['weights']} instead of the trained one",
        ),
        (not evaluation["size"], "evaluates photos at their own size, which are too large"),
    ):
        if wrong:
            raise ValueError(f"Profile {profile} {sentence}: choose another profile.")


def open_photos(given: dict) -> PhotoSet:
    """Open the photos that the parameters of a notebook name."""
    names = ("dataset", "part", "data_root", "split", "count", "seed", "masks_white")
    return open_dataset(*(given[name] for name in names))


def backbone_file(source: str) -> tuple[bytes, str]:
    """Return VGG-16's weights in half precision as safetensors, and a few words that name them."""
    network = VGG16()
    words = load_backbone(network, training_run.backbone_file(source))
    return save({name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}), words


def training_files(photos: PhotoSet, longest: int) -> dict[str, bytes]:
    """Return {file name: content} of photos as JPEG and masks as grey PNG, of at most `longest` pixels a side."""
    found = {}
    for stem, (name, image, mask) in zip(photos.stems, tqdm(photos, "training photos")):
        if mask is None:
            raise ValueError(f"{name} of {photos.name} has no mask, and training needs one for every photo.")
        shown, levels = Image.fromarray(image), Image.fromarray(np.uint8(np.rint(255 * mask)))
        for each in (shown, levels):
            each.thumbnail((longest, longest), Image.Resampling.BILINEAR)
        found[f"photos/train/{stem}.jpg"] = picture(np.asarray(shown), "JPEG", **TRAINING_JPEG)
        found[f"masks/train/{stem}.png"] = picture(np.asarray(levels), "PNG")
    return found


def test_files(photos: PhotoSet, size: int) -> dict[str, bytes]:
    """Return {file name: content} of photos as JPEG at the network's input size, and of masks in 1 bit, unresized."""
    found = {}
    for stem, (name, image, mask) in zip(photos.stems, tqdm(photos, "test photos")):
        if mask is None:
            raise ValueError(f"{name} of {photos.name} has no mask, and the evaluation needs one for every photo.")
        found[f"photos/test/{stem}.jpg"] = picture(resize_to_square(Image.fromarray(image), size), "JPEG", **TEST_JPEG)
        found[f"masks/test/{stem}.png"] = picture(mask.astype(bool), "PNG")
    return found


def picture(pixels: np.ndarray, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, optimize=True, **settings)
    return file.getvalue()


def entry(content: bytes, part: str) -> dict:
    return {"part": part, "bytes": len(content), "sha256": sha256(content).hexdigest()}


def tar(content: dict[str, bytes]) -> bytes:
    """Return files as a compressed tar archive; the same files give the same bytes."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as file:
        for name, value in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(value)
            file.addfile(member, io.BytesIO(value))
    # JPEG, PNG and weights hardly shrink, but the headers and padding of so many files in a tar have 1.1 MB.
    return gzip.compress(archive.getvalue(), compresslevel=1, mtime=0)


if __name__ == "__main__":
    sys.exit(main())
