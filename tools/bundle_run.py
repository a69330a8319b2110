"""Train and evaluate with the files of a bundle, and write the results of notebooks 03 and 04: `run.py` of a bundle.

    python -m tarfile -e part1.tar.gz && python -m tarfile -e part2.tar.gz
    python run.py                  # to the end
    python run.py --minutes 9      # in stretches; exit code 75 means that the same command must run again
    torchrun --nproc-per-node 2 run.py  # on two GPUs; the first process alone evaluates, prints and writes

Needs torch, numpy, Pillow, safetensors and tqdm; no network, no git, no Jupyter. Results go to `outputs/<profile>/` in
the current folder (or in DEFUSION_OUTPUTS), checkpoints too. A run that is stopped or killed continues from its last
checkpoint. `--iterations`, `--size` and `--photos` make a short trial, whose profile's name ends in "-trial".
"""

import argparse
import hashlib
import io
import json
import sys
import time
from contextlib import redirect_stdout
from importlib.util import find_spec
from math import ceil
from pathlib import Path

BEGUN = time.monotonic()
HERE = Path(__file__).resolve().parent
BACKBONE = "vgg16.safetensors"
PACKAGES = {"torch": "torch", "numpy": "numpy", "PIL": "Pillow", "safetensors": "safetensors", "tqdm": "tqdm"}
FINISHED, FAILED, UNFINISHED, INTERRUPTED = 0, 1, 75, 130
TRAINING, EVALUATION = "03_training", "04_evaluation"
MEASURED = 10  # iterations that are timed; the first one, which also loads kernels, is not among them
SHARE = 0.1  # largest part of the time limit between two checkpoints
RESERVE = 1.3  # factor for times that may be longer than measured


class OutOfTime(Exception):
    """The time limit ends this stretch; the last checkpoint holds everything so far."""


class TooFewCheckpoints(Exception):
    """Iterations are so slow that a checkpoint is needed after every `every` of them."""

    def __init__(self, every: int):
        self.every = every


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return its exit code: 0 finished, 75 run it again, 1 an error, 130 interrupted."""
    options = read_options(arguments)
    try:
        bundle = open_bundle(HERE)
        check_packages()
        return work(bundle, options)
    except (ValueError, OSError, FloatingPointError) as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Interrupted; the same command continues from the last checkpoint.", file=sys.stderr)
        return INTERRUPTED


def read_options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; argparse ends the program with exit code 2 where an option is wrong."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--minutes", type=_positive(float), help="stop within this number of minutes")
    parser.add_argument("--iterations", type=_positive(int), help="trial: number of training iterations")
    parser.add_argument("--size", type=_positive(int), help="trial: pixels per side of the network's input")
    parser.add_argument("--photos", type=_positive(int), help="trial: number of photos of each part")
    return parser.parse_args(arguments)


def _positive(kind):
    def number(text):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return number


def open_bundle(folder: Path) -> dict:
    """Read `bundle.json` and compare every file that it lists with its size and SHA-256.

    Raises FileNotFoundError for a part that is missing and ValueError for a file that differs.
    """
    advice = f"unpack both parts of one bundle into {folder.name}/"
    listing = folder / "bundle.json"
    if not listing.is_file():
        raise FileNotFoundError(f"There is no bundle.json beside run.py: {advice}.")
    try:
        bundle = json.loads(listing.read_text(encoding="utf-8"))
        files = bundle["files"]
    except (ValueError, KeyError):
        raise ValueError(f"bundle.json is damaged: {advice} again.") from None
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        parts = " and ".join(sorted({files[name]["part"] for name in missing}))
        raise FileNotFoundError(
            f"{len(missing)} of the bundle's {len(files)} files are missing, the first is {missing[0]}: unpack {parts} "
            "beside run.py."
        )
    for name, expected in files.items():
        content = (folder / name).read_bytes()
        again = f"copy {expected['part']} again and unpack it beside run.py"
        if len(content) != expected["bytes"]:
            raise ValueError(f"{name} has {len(content)} bytes, expected {expected['bytes']}: {again}.")
        if hashlib.sha256(content).hexdigest() != expected["sha256"]:
            raise ValueError(f"{name} is not the file that was packed (its SHA-256 differs): {again}.")
    return bundle


def check_packages() -> None:
    """Raise ValueError where a package is missing."""
    missing = [package for module, package in PACKAGES.items() if find_spec(module) is None]
    if missing:
        raise ValueError(f"This Python lacks {', '.join(missing)}: install it, or choose another Python.")


def work(bundle: dict, options: argparse.Namespace) -> int:
    """Train until the training is finished or the time limit is reached, then evaluate; return the exit code."""
    from defusion_lib.distributed import join

    changes = trial(bundle, options)
    training = make_run(bundle, TRAINING, changes)
    evaluation = make_run(bundle, EVALUATION, changes)
    processes = join(training.device)
    if options.minutes and processes.world > 1:
        raise ValueError(
            "--minutes needs one process, because torchrun returns no exit code 75: leave it out; a stopped run "
            "continues from its last checkpoint."
        )
    with redirect_stdout(sys.stdout if processes.is_writer else None):
        return stretch(bundle, options, training, evaluation, processes)


def stretch(bundle: dict, options: argparse.Namespace, training, evaluation, processes) -> int:
    """Train and evaluate as `work` does, with both runs made and the processes of torchrun connected."""
    print(training, flush=True)
    if training.device.type == "cpu":
        print("No GPU was found: this runs on the CPU, which is many times slower.")
    deadline = BEGUN + 60 * options.minutes if options.minutes else None
    weights = training.path(f"weights/{TRAINING}.safetensors")
    try:
        trained_before = is_trained(weights, training)
        if not trained_before:
            train_network(bundle, training, weights, options.photos, deadline, processes.is_writer)
        if processes.is_writer and not is_evaluated(weights, evaluation):
            evaluate(bundle, evaluation, weights, options.photos, deadline, trained_before)
    except OutOfTime as reason:
        print(f"Not finished: {reason} Run the same command again.")
        return UNFINISHED
    print(f"Finished: {training.parameters.profile}.")
    return FINISHED


def trial(bundle: dict, options: argparse.Namespace) -> dict:
    """Return the given parameters of each notebook, changed for a trial; raise ValueError for too large a size."""
    given = {name: dict(bundle["parameters"][name]["given"]) for name in (TRAINING, EVALUATION)}
    full = {name: bundle["parameters"][name]["defaults"] | each for name, each in given.items()}
    asked = {name: getattr(options, name) for name in ("iterations", "size", "photos")}
    if not any(asked.values()):
        return given
    stored = bundle["data"]["size"]
    if options.size and options.size > stored:
        raise ValueError(f"--size {options.size} is larger than the photos of this bundle: choose up to {stored}.")
    _, size, batch = full[TRAINING]["stages"][-1]
    iterations = options.iterations or sum(stage[0] for stage in full[TRAINING]["stages"])
    given[TRAINING]["stages"] = [[iterations, options.size or size, batch]]
    given[EVALUATION]["size"] = options.size or full[EVALUATION]["size"]
    for each in given.values():
        each["profile"] += "-trial"
    bundle["notes"]["trial"] = {name: value for name, value in asked.items() if value}
    return given


def make_run(bundle: dict, stem: str, given: dict):
    """Begin a run as the notebook does; its stamp names the commit that the bundle was packed from."""
    from defusion_lib import paths, runs
    from defusion_lib.runs import parameters

    class Run(runs.Run):
        @property
        def stamp(self) -> dict:
            return super().stamp | {"commit": bundle["commit"]}  # there is no git beside a bundle

        def arrays(self, name: str, **arrays) -> None:
            """Write the arrays of a figure as `figure` does, without the picture."""
            import numpy as np

            content = io.BytesIO()
            np.savez_compressed(content, stamp=json.dumps(self.stamp), **arrays)
            paths.write_atomically(self.path(f"figures/{name}.npz"), content.getvalue())

    defaults = bundle["parameters"][stem]["defaults"]
    run = Run(stem, defaults, parameters.check_parameters(defaults, given[stem], where=stem))
    run.note(**bundle["notes"])
    return run


def photographs(bundle: dict, part: str, count: int | None):
    """Open the "train" or "test" photos of a bundle, or the first `count` of them, under the data set's name.

    Training masks have the photo's size and keep the grey values of resampling. Test masks have their own size.
    """
    from defusion_lib.data import Photo, PhotoSet
    from defusion_lib.data.files import read_image, read_mask

    def read(stem: str) -> Photo:
        image = read_image(HERE / f"photos/{part}/{stem}.jpg")
        return Photo(stem, image, read_mask(HERE / f"masks/{part}/{stem}.png", grey=part == "train"))

    return PhotoSet(bundle["data"]["name"], bundle["data"][part], read)[:count]


def is_trained(weights: Path, run) -> bool:
    """Return whether `weights` is the trained network of this run; raise ValueError where it is that of another run."""
    from defusion_lib.paths import display_path
    from defusion_lib.weights import read_card

    if not weights.is_file():
        return False
    found, expected = read_card(weights), run.stamp
    for key in ("parameters", "bundle", "trial"):
        if found.get(key) != json.loads(json.dumps(expected.get(key))):
            raise ValueError(
                f"{display_path(weights)} was made with another {key}: move that file away, or set DEFUSION_OUTPUTS to "
                "another folder."
            )
    return True


def is_evaluated(weights: Path, run) -> bool:
    """Return whether the results of the evaluation exist and belong to `weights`."""
    from defusion_lib.weights import load_network, weights_hash

    results = run.folder / f"results/{EVALUATION}.json"
    if not results.is_file():
        return False
    stamp = json.loads(results.read_text(encoding="utf-8"))["stamp"]
    return stamp["weights_sha256"] == weights_hash(load_network(weights))


def train_network(
    bundle: dict, run, weights: Path, count: int | None, deadline: float | None, is_writer: bool = True
) -> None:
    """Train as notebook 03 does; the writer writes results, curve and network. Raise OutOfTime before `deadline`."""
    import numpy as np

    from defusion_lib.precision import resolve_precision
    from defusion_lib.training import MASKS, make_recipe, train
    from defusion_lib.weights import result_name, save_network, weights_hash

    given = run.parameters
    changed = ("stages", "learning_rate", "augmentation", "precision", "averaging", "seed")
    recipe = make_recipe(given.recipe, **{name: getattr(given, name) for name in changed})
    precision = resolve_precision(recipe.precision, run.device)
    photos = photographs(bundle, "train", count).in_memory()
    print(f"{photos.name}: {len(photos)} photos, {recipe.iterations:,} iterations in {precision}", flush=True)
    checkpoint = run.path(f"checkpoints/{TRAINING}.pt")
    every, clock = given.every, Clock(recipe.iterations, given.every, deadline)
    while True:
        network = first_network(bundle, run)
        try:
            task = MASKS._replace(loss=clock.timed(MASKS.loss))
            history = train(network, photos, recipe, run.device, checkpoint, every, run.stamp, clock.checkpoint, task)
            break
        except TooFewCheckpoints as found:
            every = found.every
            clock = Clock(recipe.iterations, every, deadline)
    if not is_writer:
        return

    maps = 6 * given.steps + 1
    span = max(1, min(50, recipe.iterations // 5))
    first, last = np.mean(history.loss[:span]) / maps, np.mean(history.loss[-span:]) / maps
    changes = np.cumsum([iterations for iterations, _, _ in recipe.stages])[:-1]
    run.arrays("training_loss", loss=history.loss, maps=maps, size_changes=changes)
    run.note(training_stretches=history.stretches, weights_sha256=weights_hash(network))
    method = f"{photos.name}/{result_name(network)}"
    run.results(
        {
            f"{method}/iterations": recipe.iterations,
            f"{method}/loss-first": first,
            f"{method}/loss-last": last,
            f"{method}/training-seconds": history.seconds,
            f"{method}/parameters": sum(p.numel() for p in network.parameters()),
        },
        data=photos,
    )
    save_network(network, weights, run.stamp)
    checkpoint.unlink()
    run.finish()


def first_network(bundle: dict, run):
    """Make the initial network of notebook 03 from the seed and the bundle's backbone."""
    import torch

    from defusion_lib.network import DeFusionNet
    from defusion_lib.weights import load_backbone

    given = run.parameters
    torch.manual_seed(given.seed)  # every call starts with the same state, as a notebook does
    network = DeFusionNet(
        given.heads, steps=given.steps, cam=given.cam, fam=given.fam, ffrm=given.ffrm, fusion_stride=given.fusion_stride
    )
    load_backbone(network.backbone, HERE / BACKBONE)
    run.note(backbone=bundle["backbone"], data_before=bundle["data_before"])
    return network


class Clock:
    """Ends a training before a deadline, directly after a checkpoint, unless it has all its `iterations`.

    `every` is the number of iterations between checkpoints, `deadline` in seconds of `time.monotonic`, or None.
    """

    def __init__(self, iterations: int, every: int, deadline: float | None):
        self.iterations, self.every, self.deadline = iterations, every, deadline
        self.starts: list[float] | None = []  # times of the iterations before the first checkpoint
        self.last = time.monotonic()
        self.longest = 0.0  # seconds between two checkpoints, the largest so far

    def timed(self, loss):
        """Wrap a task's loss so that it raises TooFewCheckpoints where checkpoints are too rare for the deadline."""

        def watched(network, *batch):
            if self.deadline is not None and self.starts is not None:
                self.measure()
            return loss(network, *batch)

        return watched

    def measure(self) -> None:
        self.starts.append(time.monotonic())
        longest = SHARE * (self.deadline - BEGUN)
        waited = self.starts[-1] - self.starts[0]
        if len(self.starts) < 2 or (len(self.starts) < 2 + MEASURED and waited < longest):
            return
        steady = self.starts[1:] if len(self.starts) > 2 else self.starts
        seconds = (steady[-1] - steady[0]) / (len(steady) - 1)
        self.starts = None
        if self.every * seconds > longest:
            raise TooFewCheckpoints(max(1, int(longest / seconds)))

    def checkpoint(self, history) -> None:
        """Record a checkpoint; raise OutOfTime where the next one would be after the deadline."""
        self.starts = None
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now
        if self.deadline is None or len(history.loss) == self.iterations:
            return
        if now + RESERVE * self.longest > self.deadline:
            raise OutOfTime(f"the checkpoint holds iteration {len(history.loss):,} of {self.iterations:,}.")


def evaluate(bundle: dict, run, weights: Path, count: int | None, deadline: float | None, trained_before: bool) -> None:
    """Evaluate as notebook 04 does, and write its results and curves.

    Raises OutOfTime where it cannot be complete before `deadline`. Where the network was trained before this call,
    another call would have no more time: then it raises ValueError.
    """
    import numpy as np
    from tqdm.auto import tqdm

    from defusion_lib.evaluation.map_scores import with_errors
    from defusion_lib.inference import detect, resize_map
    from defusion_lib.metrics import Evaluation
    from defusion_lib.weights import load_network, result_name, weights_hash

    photos = photographs(bundle, "test", count)
    network = load_network(weights, run.device)
    run.note(weights_sha256=weights_hash(network))
    method = result_name(network)
    evaluations = {method: Evaluation(), "all-blurred": Evaluation()}
    seconds, started = [], 0.0
    for done, photo in enumerate(tqdm(photos, desc=method)):
        # The first photo also loads kernels, so the second one is timed.
        if deadline is not None and done == 2:
            now = time.monotonic()
            needed = RESERVE * (now - started) * (len(photos) - done)
            if now + needed > deadline:
                if trained_before:
                    minutes = ceil((now - BEGUN + needed) / 60)
                    raise ValueError(
                        f"The evaluation does not fit into {(deadline - BEGUN) / 60:g} minutes: give --minutes "
                        f"{minutes} or more."
                    )
                raise OutOfTime("the network is trained, and its evaluation needs another call.")
        started = time.monotonic()
        found = resize_map(detect(photo.image, network, run.parameters.size), photo.mask.shape)
        seconds.append(time.monotonic() - started)
        evaluations[method].add(found, photo.mask)
        evaluations["all-blurred"].add(np.ones_like(photo.mask), photo.mask)
    values = {name: with_errors(each, seed=run.parameters.seed) for name, each in evaluations.items()}
    curves = {
        f"{name}_{positive}_{axis}": values
        for name, evaluation in evaluations.items()
        for positive in ("blur", "focus")
        for axis, values in evaluation.curves(positive)._asdict().items()
    }
    run.note(data=[photos.provenance()])
    run.arrays("curves", **curves)  # before the results, which tell a later call that nothing is left to do
    run.results(
        {f"{photos.name}/{name}/{metric}": value for name, row in values.items() for metric, value in row.items()}
        | {f"{photos.name}/{method}/seconds": np.median(seconds)}
    )
    run.finish()


if __name__ == "__main__":
    sys.exit(main())
