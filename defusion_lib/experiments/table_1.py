"""Table 1 of the paper: all methods of `BASELINES` and DeFusionNet on the same photos, under one protocol.

Rows, tables and figures follow `BASELINES`: a method that is added there is in all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from scipy.stats import kendalltau
from torch import nn

from defusion_lib import inference, metrics, plots
from defusion_lib.baselines import BASELINES, CLASSICAL, DEEP
from defusion_lib.baselines.deep import OURS, Deep, dhde, dmenet, held_out, with_validation
from defusion_lib.baselines.fitted import SPLIT, fitted_to
from defusion_lib.data import PhotoSet
from defusion_lib.data.datasets import open_dataset
from defusion_lib.data.shi import split_stems
from defusion_lib.evaluation.bootstrap import FEW, interval
from defusion_lib.evaluation.map_scores import HistogramScores
from defusion_lib.evaluation.published_maps import Published, crop_correlation, photographs
from defusion_lib.evaluation.statistics import correlation
from defusion_lib.experiments import kept
from defusion_lib.experiments.efficiency import Cost, benchmark, total_cost
from defusion_lib.experiments.map_cache import cached_maps, fingerprint
from defusion_lib.experiments.result_keys import result_keys
from defusion_lib.experiments.training_run import Training, backbone_file, check_unlearnt
from defusion_lib.metrics import Evaluation
from defusion_lib.network import DeFusionNet, count_parameters
from defusion_lib.paper import claims, conversion
from defusion_lib.paper.tables import D_DFFNET, METHODS, TABLE_1, matching_metrics
from defusion_lib.plots import Drawing
from defusion_lib.runs.pictures import shrink
from defusion_lib.runs.run import Run
from defusion_lib.training import Recipe
from defusion_lib.weights import load_network, read_card, result_name, weights_hash

TRAINED = DEEP | {"defusionnet": OURS}  # networks that are trained for the table, all alike
PUBLISHED_METRICS = ("auc", "max-f-blur", "max-f-focus", "mae")
FIGURE_1 = ("lbp", "hifst", "btbnet", "defusionnet")
RETRAINED = "same budget"  # our network, trained with the budget of the others, in figures
Scores = Mapping[str, Mapping[str, float]]  # {row: {metric: value}}


class Rival(NamedTuple):
    """A network that was trained for the table, or what is kept of one whose weights are on another machine.

    network:   with its weights, or else with random ones, which tell its size and its speed alone
    card:      of its file (`training.train_or_load`)
    sha256:    of its weights
    looks:     what else was measured of it, {name: array}; see `look_inside`
    is_loaded: whether the network has its weights
    """

    network: nn.Module
    card: Mapping[str, Any]
    sha256: str
    looks: Mapping[str, np.ndarray]
    is_loaded: bool = True


class Tested(NamedTuple):
    """The histograms of a method's maps of some photos, int (N, 2, 256), and some of the maps, uint8 levels (H, W)."""

    counts: np.ndarray
    maps: list[np.ndarray]

    def scores(self, stretched: bool = False) -> HistogramScores:
        """Return the scores of the maps, or of the `stretched` maps (`HistogramScores`)."""
        return HistogramScores(self.counts, stretched)


class Method(NamedTuple):
    """A row of the table.

    name:     in tables and result files
    detect:   its call; takes uint8 RGB (H, W, 3), returns the defocus map, float32 (H, W) in [0, 1], 1 = blurred
    state:    its `fingerprint`, for the map cache
    in_paper: its name in the tables of the paper, and that of a folder of published maps; "" for none
    network:  None for a classical method
    rival:    of a network that was trained for the table
    size:     in pixels, of what the rival sees
    """

    name: str
    detect: Callable[[np.ndarray], np.ndarray]
    state: str
    in_paper: str = ""
    network: nn.Module | None = None
    rival: Rival | None = None
    size: int = 0

    def test(self, photos: PhotoSet, run: Run, shown: Sequence[int] = ()) -> Tested:
        """Count the levels of the method's maps of photos; with the maps of those with the indices `shown`.

        Maps are stored in the run's folder `maps` (`map_cache.cached_maps`). What is found of a network that was
        trained for the table is kept in the results, and read there where its weights are on another machine.
        Raises ValueError where neither is there.
        """
        if self.rival is None:
            return self._test(photos, run, shown)
        file = run.path(f"results/{run.stem}/{self.name}@{photos.name}.npz")
        made = {
            "weights_sha256": self.rival.sha256,
            "size": self.size,
            "test": photos.in_memory().identity(),
            "shown": list(shown),
            "code_sha256": kept.code_sha256(type(self.network).__module__),
        }
        found = kept.read_alike(file, made)
        if found is not None:
            return Tested(found["counts"].astype(np.int64), [found[f"map_{i}"] for i in shown])
        counts, maps = self._test(photos, run, shown)
        tested = Tested(counts, [shrink(defocus) for defocus in maps])
        arrays = {"counts": counts.astype(np.uint32)}
        arrays |= {f"map_{i}": defocus for i, defocus in zip(shown, tested.maps)}
        kept.write(file, {"stamp": run.stamp, "made": made}, arrays)
        return tested

    def _test(self, photos: PhotoSet, run: Run, shown: Sequence[int]) -> Tested:
        counts, maps = [], {}
        for i, (photo, found) in enumerate(self.maps(photos, run.folder / "maps")):
            counts.append(metrics.histogram(found.defocus, photo.mask))
            if i in shown:
                maps[i] = plots.as_levels(found.defocus)
        return Tested(np.stack(counts), [maps[i] for i in shown])

    def maps(self, photos: PhotoSet, cache: Path):
        """Yield each photo with its map, as `map_cache.cached_maps` does.

        Raises ValueError where the weights are on another machine.
        """
        if self.rival is not None and not self.rival.is_loaded:
            raise ValueError(
                f"The weights of {self.name} are not here, and nothing is kept of its maps of these {len(photos)} "
                f"photos of {photos.name}: train it with notebook 07, or use the parameters that it was tested with."
            )
        return cached_maps(photos, self.detect, cache / photos.name / self.name, self.state)


def row_name(name: str, network: nn.Module) -> str:
    """Name a trained network in result files: with its heads, if not the reference's, and "+budget" for ours."""
    heads = network.config.get("heads", "radf")
    return name + ("" if heads == "radf" else f"-{heads}") + ("+budget" if name == "defusionnet" else "")


def methods(
    rivals: Mapping[str, Rival], budget: str, package: DeFusionNet | None, size: int, split: str = SPLIT
) -> dict[str, Method]:
    """Return the rows of the table, {name: method}, in the order of `BASELINES`; DeFusionNet is last.

    rivals:  by their names in `TRAINED`; they see images at the size of their `budget`, and those that are missing
             have no row
    package: the network that ships with the library, which sees images at `size` pixels (0: as they are), or None
    split:   of Shi's set, whose training photos the classical methods have learnt from
    """
    rows = []
    for name, baseline in (BASELINES | {"defusionnet": OURS}).items():
        if not isinstance(baseline, Deep):
            classical = fitted_to(baseline, split)
            rows.append(Method(name, classical, fingerprint(classical), name))
        elif name in rivals:
            rows.append(rival_method(name, rivals[name], budget))
    if package is not None:
        rows.append(package_method(package, size))
    return {row.name: row for row in rows}


def weights_hashes(rows: Mapping[str, Method]) -> dict[str, str]:
    """Return the hash of the weights of each row that has a network, {row: SHA-256}."""
    return {
        name: row.rival.sha256 if row.rival else weights_hash(row.network)
        for name, row in rows.items()
        if row.network is not None
    }


def rival_method(name: str, rival: Rival, budget: str) -> Method:
    """Return the row of a network in `TRAINED`, which sees images at the size of its `budget`."""
    baseline, network = TRAINED[name], rival.network
    seen = baseline.budget(budget).size
    state = fingerprint(baseline.detect, seen, rival.sha256, module=baseline.network.__module__)
    in_paper = "" if name == "defusionnet" else name  # the paper's row is that of the network in the package
    return Method(row_name(name, network), baseline.detector(network, seen), state, in_paper, network, rival, seen)


def package_method(network: DeFusionNet, size: int) -> Method:
    """Return the row of the network that ships with the library; it sees images at `size` pixels (0: as they are)."""
    detect = partial(inference.detect, network=network, size=size or None)
    state = fingerprint(inference.detect, weights_hash(network), size)
    return Method(result_name(network), detect, state, "defusionnet", network)


def trainings(given: Any) -> dict[str, Training]:
    """Return the trainings of notebook 07, {name in `TRAINED`: training}, from its parameters (attributes)."""
    photos = {
        "name": given.learn_from or given.dataset,
        "part": "train",
        "root": given.learn_root if given.learn_from else given.learn_root or given.data_root,
        "split": given.split,
        "count": given.count,
        "seed": given.seed,
        "white": "" if given.learn_from else given.masks_white,
    }
    return {
        name: Training(
            f"weights/07_table_1/{name}.safetensors",
            _for_random_weights(baseline.recipe(given.recipe, given.budget, given.seed), name, given.encoder),
            {"divide": given.divide, "encoder": given.encoder, "heads": given.heads},  # those that its class has
            photos,
            given.backbone,
            modules=(baseline.network.__module__, "defusion_lib.baselines.deep"),
        )
        for name, baseline in TRAINED.items()
    }


def _for_random_weights(recipe: Recipe, name: str, encoder: str) -> Recipe:
    """Return a recipe that trains every layer of VGG-19 in full, of which no weights are loaded."""
    return replace(recipe, frozen_blocks=0, backbone_factor=1.0) if (name, encoder) == ("dmenet", "vgg19") else recipe


def open_test(parameters: Any) -> PhotoSet:
    """Open the photos that notebook 07 tests on, from its parameters (attributes)."""
    given = parameters
    split = given.split if given.dataset == "shi" else SPLIT
    of_set = (given.dataset, given.part, given.data_root, split, given.count, given.seed, given.masks_white)
    return open_dataset(*of_set).in_memory()


def train_one(run: Run, name: str, photos: PhotoSet, test: PhotoSet | None = None) -> Rival:
    """Train a network of `trainings` on its photos and test it, or load it, or read what an earlier run kept of it.

    Small files in `results/07_table_1/` have, with a stamp, the card of the weights (<name>.npz) and what was
    found of the maps (<row>@<photos>.npz, `Method.test`), so that trainings of several machines can be put together in
    one folder. A network whose files are there is trained again only where its recipe, switches, first weights, photos
    or test differ, or its code. `test` are the photos of `open_test`, if they have been read. Raises ValueError where
    the files are damaged, where the network or its first weights learnt from photos of the test, and what
    `training.train_or_load` raises.
    """
    training, baseline, given = trainings(run.parameters)[name], TRAINED[name], run.parameters
    test = test or open_test(given)
    path, backbone = run.path(training.file), backbone_file(training.backbone)
    check_unlearnt(test, photos, backbone)
    photos, validation = with_validation(photos.in_memory(), training.recipe, baseline.budget(given.budget))
    how = photos, training.recipe, backbone
    made = baseline.identity(*how, validation, **training.switches)
    made |= {
        "test": test.in_memory().identity(),
        "scenes": given.scenes,
        "seed": given.seed,
        "code_sha256": kept.code_sha256(baseline.network.__module__),
    }
    file = run.path(f"results/07_table_1/{name}.npz")
    if kept.read_alike(file, made) is None:
        network = baseline.train_or_load(path, *how, run.device, run.stamp, validation, **training.switches)
        words = {"stamp": run.stamp, "made": made, "card": read_card(path), "sha256": weights_hash(network)}
        kept.write(file, words, look_inside(name, network, test, given))
    rival = read_rival(name, file, path, run.device)
    test_all({name: rival_method(name, rival, given.budget)}, test, run, given.pictured)
    return rival


def look_inside(name: str, network: nn.Module, test: PhotoSet, parameters: Any) -> dict[str, np.ndarray]:
    """Measure DHDE's sigmas (`dhde.confusion`) and DMENet's pixels (`dmenet.amount_error`), {name: array}."""
    given = parameters
    if isinstance(network, dhde.DHDE):
        return {"confusion": dhde.confusion(network, test, given.seed)}
    if isinstance(network, dmenet.DMENet):
        size = TRAINED[name].budget(given.budget).size
        return {"amount_error": np.array(dmenet.amount_error(network, size, given.scenes, given.seed))}
    return {}


def read_rival(name: str, file: Path, weights: Path, device: torch.device | str = "cpu") -> Rival:
    """Read what is kept of a network of `TRAINED`, with its weights where their file is there and of this training."""
    found, kind = kept.read(file), TRAINED[name].network
    looks = {key: each for key, each in found.items() if isinstance(each, np.ndarray)}
    if weights.is_file():
        network = load_network(weights, device, kind)
        if weights_hash(network) == found["sha256"]:
            return Rival(network, found["card"], found["sha256"], looks)
    network = kind(**found["card"]["switches"]).to(device).eval()
    return Rival(network, found["card"], found["sha256"], looks, is_loaded=False)


def train_all(run: Run, photos: PhotoSet, test: PhotoSet) -> dict[str, Rival]:
    """Return each network of `TRAINED` by its name, as `train_one` does."""
    return {name: train_one(run, name, photos, test) for name in TRAINED}


def learnt(photos: PhotoSet, budget: str) -> list[PhotoSet]:
    """Return what the networks learn from of their training photos, and then what a budget holds out of these."""
    return list(held_out(photos)) if OURS.budget(budget).evaluations else [photos]


def test_all(
    rows: Mapping[str, Method], photos: PhotoSet, run: Run, pictured: int
) -> tuple[dict[str, Tested], list[int]]:
    """Test all methods; with the maps of `pictured` diverse photos, whose indices are returned too."""
    photos = photos.in_memory()  # each network identifies them, and each method reads them
    shown = diverse(all_blurred(photos), pictured)
    return {name: method.test(photos, run, shown) for name, method in rows.items()}, shown


def evaluate(tested: Mapping[str, Tested], photos: PhotoSet) -> dict[str, Evaluation]:
    """Score all methods.

    Two more rows have scores: DMENet with stretched maps, and the map that marks every pixel as blurred.
    """
    evaluations: dict[str, Evaluation] = {name: each.scores() for name, each in tested.items()}
    return evaluations | {
        "dmenet+stretched": tested["dmenet"].scores(stretched=True),
        "all-blurred": all_blurred(photos),
    }


def all_blurred(photos: PhotoSet) -> Evaluation:
    """Score the trivial baseline that marks every pixel as blurred."""
    evaluation = Evaluation()
    for photo in photos:
        evaluation.add(np.ones_like(photo.mask), photo.mask)
    return evaluation


def diverse(evaluation: Evaluation, count: int) -> list[int]:
    """Choose photos from the least to the most blurred at equal distances in that order; return their indices."""
    pixels = evaluation.counts.sum(-1)
    order = np.argsort(pixels[:, 1] / pixels.sum(-1), kind="stable")
    places = np.linspace(0, len(order) - 1, min(count, len(order)))
    return [int(order[round(place)]) for place in places]


def auc_of_photos(evaluation: Evaluation) -> np.ndarray:
    """Compute the AUC of each photo whose mask has both classes, float (N,)."""
    counts = metrics.drop_single_class(evaluation.counts)
    return metrics.area(counts, counts[:, 0])


def auc_rows(scores: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray]) -> dict[str, dict]:
    """Return the mean AUC of each method with its 95 % interval, best first, {name: {column: value}}.

    `scores` {method: (N,)} are per photo, `means` {method: (draws,)} their resampled means.
    """
    order = sorted(scores, key=lambda name: -scores[name].mean())
    return {name: {"AUC": scores[name].mean(), **dict(zip(("low", "high"), interval(means[name])))} for name in order}


def score_results(
    dataset: str,
    scores: Scores,
    seconds: Mapping[str, float],
    means: Mapping[str, np.ndarray],
    agreement: "Agreement | None",
) -> dict[str, float]:
    """Return scores, seconds and the spread of the mean AUC of each row, and the tau, under keys of result files."""
    results = result_keys(dataset, scores)
    results |= result_keys(dataset, {name: {"seconds": value} for name, value in seconds.items()})
    results |= result_keys(dataset, {name: {"auc-std": np.std(value)} for name, value in means.items()})
    return results | ({f"{dataset}/all-classics/kendall-tau": agreement.tau} if agreement else {})


def seen_in_training(photos: PhotoSet) -> int:
    """Count the photos that classical methods with learnt parts and the network in the package were trained on."""
    learnt = split_stems("dutlab100", "train") if photos.name == "shi-last100" else []
    return len(set(learnt) & set(photos.stems))


# ------------------------------------------------------------------------------------------------ what it costs


def one_pass(baseline: Deep) -> bool:
    """Whether a network maps an image in one pass, so that its cost can be counted from its layers."""
    return baseline.detect is inference.detect


def samples(recipe: Recipe) -> int:
    """Count the samples of a training."""
    return sum(iterations * batch for iterations, _, batch in recipe.stages)


def budget_rows(rivals: Mapping[str, Rival], recipe: str, budget: str) -> dict[str, dict]:
    """Describe what each trained network is and what it was given, {name: {column: value}}."""
    rows = {}
    for name, rival in rivals.items():
        baseline, network = TRAINED[name], rival.network
        given, size = baseline.recipe(recipe, budget), baseline.budget(budget).size
        rows[name] = {"parameters, M": count_parameters(network) / 1e6}
        if one_pass(baseline):
            rows[name]["GMAC"] = total_cost(network, size, size).macs / 1e9
            rows[name]["trained at, pixels"] = ", ".join(str(pixels) for _, pixels, _ in given.stages)
        rows[name] |= {"tested at, pixels": size, "samples": samples(given)}
    return rows


def full_costs(side: int = 320) -> dict[str, Cost]:
    """Count the cost of an image of `side` pixels in the full form of each network that maps it in one pass."""
    with torch.device("meta"):
        full = {name: baseline.build() for name, baseline in TRAINED.items() if one_pass(baseline)}
        full["defusionnet-compact"] = DeFusionNet("compact")
    return {name: total_cost(network, side, side) for name, network in full.items()}


def cost_rows(costs: Mapping[str, Cost]) -> dict[str, dict]:
    """Describe the costs of `full_costs`, {name: {column: value}}."""
    ours = costs["defusionnet"].macs
    return {
        name: {"parameters, M": each.parameters / 1e6, "GMAC": each.macs / 1e9, "x DeFusionNet": each.macs / ours}
        for name, each in costs.items()
    }


def training_results(dataset: str, rivals: Mapping[str, Rival], costs: Mapping[str, Cost]) -> dict[str, float]:
    """Return the seconds of each training, and the sizes and costs of the networks, under keys of result files."""
    results: dict[str, float] = {}
    for name, rival in rivals.items():
        row, card = row_name(name, rival.network), rival.card
        results[f"{dataset}/{row}/training-seconds"] = sum(stretch["seconds"] for stretch in card["stretches"])
        results[f"{dataset}/{row}/parameters"] = count_parameters(rival.network)
        if "held_out" in card:
            iteration, loss = card["held_out"][card["kept"]]
            lowest = {"iterations": len(card["loss"]), "iterations-kept": iteration, "held-out-loss": loss}
            results |= result_keys(dataset, {row: lowest})
    for name in [name for name in costs if name in DEEP]:
        results |= {f"full/{name}/gmac": costs[name].macs / 1e9, f"full/{name}/parameters": costs[name].parameters}
    return results


def median_seconds(
    rows: Mapping[str, Method], image: np.ndarray, repeats: int, device: torch.device
) -> dict[str, float]:
    """Measure how long each method takes for an image, in turns; return the median of the repeats in seconds."""
    timings = benchmark({name: partial(method.detect, image) for name, method in rows.items()}, repeats, device)
    return {name: float(np.median(timing.seconds)) for name, timing in timings.items()}


def training_times(rivals: Mapping[str, Rival]) -> dict[str, dict]:
    """Return how long each network was trained, and on what; and why it ended."""
    rows = {}
    for name, rival in rivals.items():
        stretches = rival.card["stretches"]
        where = {f"{each['device']}, threads: {each['threads']}, {each['precision']}" for each in stretches}
        minutes = sum(stretch["seconds"] for stretch in stretches) / 60
        rows[name] = {"minutes": minutes, "where": "; ".join(sorted(where))} | ending(rival.card)
    return rows


def ending(card: Mapping) -> dict:
    """Return why a training ended and which weights it kept, {column: value}; nothing without held-out photos."""
    if "held_out" not in card:
        return {}
    done, planned = len(card["loss"]), planned_iterations(card)
    iteration, loss = card["held_out"][card["kept"]]
    return {
        "iterations": f"{done:,} of {planned:,}",
        "ended because": "the time was over" if done == planned else "the held-out loss had stopped falling",
        "weights of iteration": f"{iteration:,}",
        "their held-out loss": f"{loss:.3f}",
    }


def planned_iterations(card: Mapping) -> int:
    """Return how many iterations the recipe in a card has."""
    return sum(iterations for iterations, _, _ in card["recipe"]["stages"])


# -------------------------------------------------------------------------------------------- beside the paper


def beside_paper(dataset: str, scores: Scores, rows: Mapping[str, Method]) -> dict[str, dict]:
    """Put each number that the paper has of a data set beside ours, {"method, column": {column: value}}."""
    assigned, found = claims.assigned(claims.load()), {}
    of_paper = {method.in_paper: method.name for method in rows.values() if (dataset, "f", method.in_paper) in TABLE_1}
    for name, row in of_paper.items():
        for column, metric in matching_metrics(dataset, name).items():
            here, paper = scores[row][metric], TABLE_1[dataset, column, name]
            status = assigned[f"table-1/{dataset}/{column}/{name}"].status
            found[f"{name}, {column}"] = {
                "row": row, "here": here, "paper": paper, "difference": here - paper, "our metric": metric,
                "status in notebook 06": status,
            }  # fmt: skip
    return found


def beside_d_dffnet(dataset: str, scores: Scores, rows: Mapping[str, Method]) -> dict[str, dict]:
    """Put D-DFFNet's numbers on dutlab100 beside ours, and DeFusionNet's below, {method: {column: value}}.

    Returns nothing for another data set.
    """
    if dataset != "shi-dutlab100":
        return {}
    ours = [name for name in rows if name.startswith("defusionnet")]
    found = {}
    for name in [*D_DFFNET, *ours]:
        quoted, here = D_DFFNET.get(name), scores.get(name)
        found[name] = {
            "MAE, quoted": quoted.mae if quoted else "",
            "MAE, here": here["mae"] if here else "not run",
            "F at 0.5, quoted": quoted.f if quoted else "",
            "F at 0.5, here": here["f-half-blur"] if here else "not run",
        }
    return found


def paper_order() -> dict[str, float]:
    """Return the paper's AUC of the classical methods on Shi's set, converted to ordinary AUC (notebook 05c)."""
    converted = conversion.convert()
    return {name: float(converted["shi", name].auc) for name in CLASSICAL if ("shi", name) in converted}


class Agreement(NamedTuple):
    """Kendall's tau of our order and the paper's, its 95 % interval, and each pair that is reversed here."""

    tau: float
    bounds: np.ndarray
    reversed_pairs: list[str]


def order_agreement(
    scores: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray], paper: Mapping[str, float]
) -> Agreement:
    """Compare our order with the paper's.

    `scores` {method: (N,)} are per photo, `means` {method: (draws,)} their resampled means. A pair is reversed where
    the interval of its difference is above 0 and the paper has the other one ahead.
    """
    theirs = list(paper.values())
    tau = kendalltau([scores[name].mean() for name in paper], theirs).statistic
    taus = [kendalltau(row, theirs).statistic for row in np.stack([means[name] for name in paper], axis=1)]
    reversed_pairs = [
        f"{better} over {worse}"
        for better in paper
        for worse in paper
        if paper[better] < paper[worse] and interval(means[better] - means[worse])[0] > 0
    ]
    return Agreement(float(tau), interval(taus), reversed_pairs)


def describe_order(paper: Mapping[str, float], agreement: Agreement | None, dataset: str) -> str:
    """Return the paper's order in words, and how our order on Shi's photos agrees with it."""
    order = sorted(paper, key=lambda name: -paper[name])
    text = "the paper's order: " + ", ".join(f"{name} {paper[name]:.2f}" for name in order)
    if agreement is None:
        return f"{text}\nIt is an order on Shi's photos, which cannot be compared with one on {dataset}."
    low, high = agreement.bounds
    return (
        f"{text}\nour order of these: tau {agreement.tau:.2f}, 95 % interval {low:.2f} to {high:.2f}\n"
        f"reversed here: {', '.join(agreement.reversed_pairs) or 'no pair'}"
    )


def beside_published(
    rows: Mapping[str, Method], published: Mapping[str, Published], shi_root: str | Path, cache: Path
) -> tuple[dict[str, float], dict[str, dict], list[PhotoSet]]:
    """Compare the maps of each method with those that its authors published of Shi's photos.

    `published` are maps by the name of their folder, which is the method's in `BASELINES`. Returns results under their
    keys in result files, rows of a table, and the photos. A folder of another name gets a row that says so.
    """
    results, found, sets = {}, {}, []
    named = {method.in_paper: method for method in rows.values() if method.in_paper}
    for name, maps in published.items():
        if name not in named:
            found[name] = {"photos": len(maps.stems), "note": "no method of this name: notebook 05a scores any maps"}
            continue
        photos = photographs(maps, shi_root)
        of_method, found[name] = published_agreement(named[name], maps, photos, cache)
        results |= of_method
        sets.append(photos)
    return results, found, sets


def published_agreement(
    method: Method, published: Published, photos: PhotoSet, cache: Path
) -> tuple[dict[str, float], dict[str, float]]:
    """Compare a method's maps with those that its authors published; return results and a row of a table.

    `photos` are those that the maps were published of. Results have their keys in result files.
    """
    correlations, differences, ours, theirs = [], [], Evaluation(), Evaluation()
    for photo, found in method.maps(photos, cache):
        original = published.read(photo)
        correlations.append(correlation(found.defocus, original))
        differences.append(np.abs(found.defocus - original).mean())
        ours.add(found.defocus, photo.mask)
        theirs.add(original, photo.mask)
    agreed = {
        "correlation": np.mean(correlations),
        "lowest-correlation": np.min(correlations),
        "mean-difference": np.mean(differences),
    }
    results = {f"{photos.name}/{method.name}/{metric}": value for metric, value in agreed.items()}
    of_crops = crop_correlation(method.detect, published, photos)
    if not np.isnan(of_crops):
        results[f"shi-crops/{method.name}/correlation"] = of_crops
    row = {"photos": len(photos)} | agreed
    for name, words, evaluation in ((method.name, "ours", ours), (f"{method.name}+published", "published", theirs)):
        values = evaluation.values()
        results |= {f"{photos.name}/{name}/{metric}": values[metric] for metric in PUBLISHED_METRICS}
        row |= {f"{metric}, {words}": values[metric] for metric in PUBLISHED_METRICS}
    return results, row


def sigma_scores(confusion: np.ndarray) -> dict[str, float]:
    """Summarise DHDE's confusion matrix (11, 11), true sigmas in rows, under the metric names of result files."""
    apart, total = np.abs(np.subtract.outer(dhde.SIGMAS, dhde.SIGMAS)), confusion.sum()
    return {
        "sigma-accuracy": np.trace(confusion) / total,
        "sigma-neighbours": confusion[apart < 0.2].sum() / total,  # right, or off by one
        "sigma-error": (confusion * apart).sum() / total,
    }


def best_constant_error(confusion: np.ndarray) -> float:
    """Compute the mean error in pixels of sigma of the best single answer for all patches of a confusion matrix."""
    apart = np.abs(np.subtract.outer(dhde.SIGMAS, dhde.SIGMAS))
    return float(min(confusion.sum(1) @ apart) / confusion.sum())


# --------------------------------------------------------------------------------------------------- figures


def losses(rivals: Mapping[str, Rival]) -> Drawing:
    """Draw the loss of each trained network over the share of its training, and its losses on held-out photos."""
    cards = {name: rival.card for name, rival in rivals.items()}
    validated = {name for name, card in cards.items() if "held_out" in card}
    height = 3.2 if not validated else 6.4
    figure, axes = plt.subplots(1 + bool(validated), figsize=(7, height), squeeze=False, layout="constrained")
    arrays = {name: card["loss"] for name, card in cards.items()}
    for style, (name, card) in zip(cycle(plots.STYLES), cards.items()):
        loss = np.array(card["loss"])
        window = max(1, len(loss) // 20)
        mean = np.convolve(loss, np.ones(window) / window, mode="valid")
        planned = planned_iterations(card) if name in validated else len(loss)
        axes[0, 0].plot(
            np.linspace(0, 100 * len(loss) / planned, len(mean)), mean / loss[:window].mean(), label=name, **style
        )
        if name in validated:
            iterations, held_out = np.array(card["held_out"]).T
            axes[1, 0].plot(100 * iterations / planned, held_out, label=name, **style)
            kept = 100 * iterations[card["kept"]] / planned, held_out[card["kept"]]
            axes[1, 0].plot(*kept, "o", color=style["color"])
            arrays |= {f"{name}_held_out": held_out, f"{name}_held_out_at": iterations}
    axes[0, 0].set(xlabel="training done, %", ylabel="loss / first loss", ylim=(0, 1.5))
    axes[0, 0].set_title("Training losses, running means over a twentieth")
    axes[0, 0].legend()
    caption = (
        "The loss of each network over its training, divided by its first losses. The networks have different losses, "
        "so compare only the shapes."
    )
    if validated:
        axes[1, 0].set(xlabel="training done, %", ylabel="loss (log)", yscale="log")
        axes[1, 0].set_title("Losses on held-out photos")
        caption += (
            " Below, the loss on held-out photos; a dot is the lowest, whose weights are kept, and a line that ends "
            "early had stopped falling. DBM, BTBNet, CVPR 2019 and DeFusionNet have the same loss there, the "
            "cross-entropy of the final map; that of DHDE is the error of its map at edges."
        )
    return Drawing("rivals_loss", figure, caption, arrays)


def confusion_matrix(confusion: np.ndarray, dataset: str) -> Drawing:
    """Draw DHDE's confusion matrix (11, 11), each row divided by its sum."""
    figure, axis = plt.subplots(figsize=(6.2, 5), layout="constrained")
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    labels = [f"{sigma:.2f}" for sigma in dhde.SIGMAS]
    sns.heatmap(share, ax=axis, cmap="cividis", vmin=0, xticklabels=labels, yticklabels=labels, square=True,
                cbar_kws={"label": "share of the row"})  # fmt: skip
    axis.tick_params(labelsize=9)
    axis.set(xlabel="sigma predicted by DHDE, pixels", ylabel="true sigma, pixels")
    axis.set_title(f"{confusion.sum()} patches of {dataset}")
    caption = (
        "DHDE's confusion matrix: one row per true sigma, one column per predicted sigma; brightness is the share of "
        "the row. Correct predictions are on the diagonal from the upper left to the lower right."
    )
    arrays = {"confusion": confusion, "sigmas": np.array(dhde.SIGMAS)}
    return Drawing("rivals_dhde_confusion", figure, caption, arrays)


def paper_names(rows: Mapping[str, Method]) -> dict[str, str]:
    """Return the name of each row in figures, {row: name}: those of the paper, in its order, then all others."""
    of_paper = {row.in_paper: name for name, row in rows.items()}
    found = {of_paper[method]: words for method, words in METHODS.items() if method in of_paper}
    return found | {name: RETRAINED if name.endswith("+budget") else name for name in rows if name not in found}


def curves(evaluations: Mapping[str, Evaluation], rows: Mapping[str, Method], ours: str, dataset: str) -> Drawing:
    """Draw the curves of Figures 8-10 of all rows under the names of the paper, the line of `ours` bold."""
    names = paper_names(rows)
    of_classes = {
        name: {positive: evaluations[name].curves(positive) for positive in ("blur", "focus")} for name in rows
    }
    figure = plots.curves({names[name]: of_class for name, of_class in of_classes.items()}, names[ours])
    caption = (
        f"Precision-recall, F-measure and ROC curves on {dataset}, laid out like Figures 8-10 of the paper, which show "
        "Shi's, DUT's and CTCUG's test photos. The paper leaves open which class is "
        "positive; here it is blur in the upper row and focus in the lower one. A method has the same colour and dash "
        f"in all six; {names[ours]} is bold. {_trained_here(rows)}{_too_few(len(evaluations[ours].counts))}"
    )
    return Drawing("rivals_curves", figure, caption, plots.curve_arrays(of_classes))


def _too_few(photos: int) -> str:
    """Return a warning for a caption about fewer than `FEW` photos."""
    return f" It is drawn from {photos} photos, too few to compare methods." * (photos < FEW)


def _trained_here(rows: Mapping[str, Method]) -> str:
    """Say which network is that in the package, and which ones were trained here."""
    names = paper_names(rows)
    words = "DeFusionNet is the network in the package." if "DeFusionNet" in names.values() else ""
    trained = [names[name] for name in names if rows[name].rival is not None and names[name] != RETRAINED]
    if trained:
        *others, last = trained
        listed = f"{', '.join(others)} and {last} were" if others else f"{last} was"
        words += f" {listed} trained here with one budget"
        words += f', and so was DeFusionNet once more, as "{RETRAINED}".' if RETRAINED in names.values() else "."
    return words.strip()


def figure_1(
    photos: PhotoSet, shown: Sequence[int], tested: Mapping[str, Tested], rows: Mapping[str, Method]
) -> Drawing:
    """Draw the maps of the methods in Figure 1 of the photos with the indices `shown`, one row per photo."""
    of_rows = [photos[i] for i in shown]
    named = {words: tested[name].maps for name, words in paper_names(rows).items()}
    columns: dict[str, Sequence] = {"Input": [photo.image for photo in of_rows]}
    columns |= {METHODS[method]: named[METHODS[method]] for method in FIGURE_1 if METHODS[method] in named}
    columns["GT"] = [photo.mask for photo in of_rows]
    caption = (
        f"Laid out like Figure 1 of the paper: {', '.join(plots.lettered(columns))}. GT is the mask, and white is "
        f"blurred. What differs: the photos are of {photos.name}, from the least to the most blurred, and have no "
        "coloured frames around hard parts. BTBNet was trained here"
        + (", and DeFusionNet is the network in the package." if METHODS["defusionnet"] in named else ".")
    )
    # The maps themselves are stored with Figure 11.
    arrays = {"names": [photo.name for photo in of_rows], "columns": list(columns)}
    return Drawing("figure_1", plots.lettered_sheet(columns), caption, arrays)


def map_sheet(
    photos: PhotoSet, shown: Sequence[int], tested: Mapping[str, Tested], rows: Mapping[str, Method]
) -> Drawing:
    """Draw the maps of all methods of the photos with the indices `shown`, one row per photo (Figure 11)."""
    of_rows = [photos[i] for i in shown]
    columns: dict[str, Sequence] = {"Input": [each.image for each in of_rows], "GT": [each.mask for each in of_rows]}
    columns |= {words: tested[name].maps for name, words in paper_names(rows).items()}
    caption = (
        f"Laid out like Figure 11 of the paper: {', '.join(plots.lettered(columns))}. GT is the mask, and white is "
        f"blurred. What differs: the photos are of {photos.name}, from the least to the most blurred "
        f"({', '.join(photo.name for photo in of_rows)}). {_trained_here(rows)}"
    ).rstrip()
    arrays = {"names": [photo.name for photo in of_rows]} | {
        f"{name}_{i}": defocus for name, each in tested.items() for i, defocus in enumerate(each.maps)
    }
    return Drawing("rivals_maps", plots.lettered_sheet(columns), caption, arrays)


def quality_and_cost(rows: Mapping[str, Method], scores: Scores, seconds: Mapping[str, float], dataset: str) -> Drawing:
    """Draw the highest F in focus against seconds per photo and against the number of learnt parameters."""
    costs = (
        seconds,
        {name: count_parameters(method.network) for name, method in rows.items() if method.network is not None},
    )
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    markers = dict(zip(rows, cycle(plots.MARKERS)))
    for axis, of, words in zip(axes, costs, ("seconds for one photo", "learnt parameters")):
        for name, cost in of.items():
            colour = 0 if rows[name].rival is not None else 7 if rows[name].network is None else 3
            style = {"color": plots.COLOURS[colour], "markersize": 8, "label": name}
            axis.plot(cost, scores[name]["max-f-focus"], markers[name], **style)
        axis.set(xscale="log", xlabel=f"{words} (log)")
        axis.grid(color="0.9")
    axes[0].set_ylabel("max F, in focus")
    axes[0].set_title(f"{dataset}: quality and time")
    axes[1].set_title("quality and size")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper")
    caption = (
        "The highest F in focus against seconds (left) and learnt parameters (right); higher and further left is "
        "better. Grey methods are classical, blue ones were trained here, the last is the network in the package."
    )
    arrays = {"methods": list(seconds), "f": [scores[name]["max-f-focus"] for name in seconds]}
    return Drawing("rivals_cost", figure, caption, arrays)


def order(
    scores: Mapping[str, np.ndarray], means: Mapping[str, np.ndarray], paper: Mapping[str, float], dataset: str
) -> Drawing:
    """Draw the mean AUC of each method with its 95 % interval, best on top, and the paper's values.

    `scores` {method: (N,)} are per photo, `means` {method: (draws,)} their resampled means; `paper` may be empty.
    """
    ranked = sorted(scores, key=lambda name: scores[name].mean())
    figure, axis = plt.subplots(figsize=(7, 0.8 + 0.4 * len(ranked)), layout="constrained")
    places = {name: place for place, name in enumerate(ranked)}
    for name, place in places.items():
        axis.plot(interval(means[name]), [place, place], "|-", color=plots.COLOURS[0])
    axis.plot(
        [scores[name].mean() for name in ranked], list(places.values()), "o", color=plots.COLOURS[0], label="here"
    )
    if paper:
        at = [places[name] for name in paper]
        axis.plot(list(paper.values()), at, "D", color=plots.COLOURS[1], label="paper, converted")
    axis.axvline(0.5, color="0.5", linestyle=":", label="chance")
    axis.set(
        yticks=range(len(ranked)), yticklabels=ranked, xlabel="ordinary AUC: mean and 95 % interval", title=dataset
    )
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    caption = (
        "The ordinary AUC of each method, best on top: a dot is the mean, a line its 95 % bootstrap interval. Where "
        "lines overlap much, the order is not settled. A diamond is the paper's converted value, where there is one."
        f"{_too_few(len(next(iter(scores.values()))))}"
    )
    arrays = {
        "methods": list(scores),
        "auc": [of.mean() for of in scores.values()],
        "bounds": [interval(means[name]) for name in scores],
        "paper": [paper.get(name, np.nan) for name in scores],
    }
    return Drawing("comparison_order", figure, caption, arrays)
