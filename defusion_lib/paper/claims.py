"""The ledger: each number and figure of the paper is a claim, and claims.yaml says what became of it.

A claim's id comes from `defusion_lib.paper.tables`: `table-1/shi/mae/defusionnet`, `count/shi-train`,
`setting/momentum`, `timing/training`, `figure-12`. An entry of claims.yaml speaks for one or many of them
(`table-1/*/jnb`). Whether an entry is true is asked of the result files in the checkout's `outputs/`, and of
`counts`.
"""

import importlib
import json
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path

import torch
import yaml

from defusion_lib.baselines import BASELINES, CLASSICAL, DEEP
from defusion_lib.data import PhotoSet
from defusion_lib.data.augmentation import Augmented
from defusion_lib.data.datasets import DATASETS
from defusion_lib.data.shi import read_manifest, split_stems
from defusion_lib.losses import deep_supervision, side_loss
from defusion_lib.metrics import f_measure
from defusion_lib.network import CHANNELS, DeFusionNet, Maps
from defusion_lib.paper.tables import COUNTS, FIGURES, OUTPUTS, SETTINGS, TABLE_1, TABLE_2, TABLE_3, TIMINGS
from defusion_lib.paths import project_root
from defusion_lib.training import Recipe, make_optimiser

CLAIMS = Path(__file__).with_name("claims.yaml")
OWN = ("quick", "06_claims")  # the profile and the notebook whose results `counts` gives
STATUSES = ("reproduced", "differs", "needs data", "needs a GPU", "not attempted")
MEASURED = STATUSES[:2]
DATA = {name: dataset.title for name, dataset in DATASETS.items()} | {
    "shi-motion": "the 296 motion-blurred photographs of Shi et al.'s 1000",
}
GROUPS = {
    "table-1": "Table 1",
    "table-2": "Table 2",
    "table-3": "Table 3",
    "figure": "Figures",
    "timing": "Timings",
    "count": "Counts",
    "setting": "Settings",
}
# What result files call the networks that the paper's tables name otherwise.
RESULT_NAMES = {"cvpr19": "defusionnet+nocam+nofam", "defusionnet+step3": "defusionnet"}


# ------------------------------------------------------------------------------------- what the paper claims


def claims() -> dict[str, float | None]:
    """All claims: {id: published number}, None for a figure and for a table cell that could not be read.

    Figures that only draw the network claim nothing.
    """
    found = {}
    for number, table in enumerate((TABLE_1, TABLE_2, TABLE_3), start=1):
        found |= {f"table-{number}/{'/'.join(cell)}": value for cell, value in table.items()}
    for group, stated in (("count", COUNTS), ("setting", SETTINGS), ("timing", TIMINGS)):
        found |= {f"{group}/{name}": said.value for name, said in stated.items()}
    found["count/outputs"] = OUTPUTS
    return found | {f"figure-{number}": None for number in FIGURES}


def group_of(claim: str) -> str:
    """The part of the paper that a claim belongs to, a key of `GROUPS`."""
    first = claim.partition("/")[0]
    return "figure" if first.startswith("figure-") else first


def counts() -> dict[str, float]:
    """The counts and settings that the library can be asked for: {"library/count/shi-train": 604, ...}.

    Each comes from what the library does (lists, the built network, its optimiser, its loss), not from
    `defusion_lib.paper.tables`. Rates are those of the paper's recipe brought back to its loss, the sum over 320x320
    pixels. ValueError where the two splits of Shi's set differ in size.
    """
    (train,) = {len(split_stems(split, "train")) for split in ("dutlab100", "last100")}
    (test,) = {len(split_stems(split, "test")) for split in ("dutlab100", "last100")}
    photos = PhotoSet("shi-last100", split_stems("last100", "train"), read=None)

    # Tensors without numbers: shapes and settings are all that is asked of the reference network.
    with torch.device("meta"):
        network = DeFusionNet()
        maps = network(torch.empty(1, 3, 32, 32))
    (appended,) = {sum(layer.weight.shape[-1] > 1 for layer in list(head)[::2]) for head in network.heads}

    recipe = Recipe()
    ((iterations, size, batch),) = recipe.stages
    optimiser = make_optimiser(network, recipe)
    (momentum,) = {group["momentum"] for group in optimiser.param_groups}
    drop = next(i for i in range(iterations) if recipe.rate(i) < 1)

    logits, mask = torch.zeros(OUTPUTS, 1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    loss = deep_supervision(Maps(logits[0], list(logits[1:])), mask)
    weight = loss / (OUTPUTS * side_loss(logits[0], mask))
    f = f_measure(1.0, 0.5)

    # A baseline that somebody added is none of the paper's.
    compared = {method for *_, method in TABLE_1}
    found = {
        "count/shi-defocus": len(read_manifest()["photographs"]),
        "count/shi-train": train,
        "count/shi-test": test,
        "count/shi-train-augmented": len(Augmented(photos, size)),
        "count/outputs": 1 + len(maps.sides),
        "count/compared-methods": len(compared & BASELINES.keys()),
        "count/compared-deep": len(compared & DEEP.keys()),
        "count/compared-classic": len(compared & CLASSICAL.keys()),
        "setting/n": len(network.heads),
        "setting/m": network.steps[0].fshf.fuse.in_channels // CHANNELS,
        "setting/t": len(network.steps),
        "setting/appended-convolutions": appended,
        "setting/loss-weight": weight.item(),
        "setting/momentum": momentum,
        "setting/weight-decay": max(group["weight_decay"] for group in optimiser.param_groups) * size**2,
        "setting/learning-rate": recipe.learning_rate / size**2,
        "setting/learning-rate-factor": recipe.rate(drop) / recipe.rate(drop - 1),
        "setting/learning-rate-drop": drop,
        "setting/batch": batch,
        "setting/iterations": iterations,
        "setting/beta2": float((1 - f) / (2 * f - 1)),  # Eq. 11 at precision 1 and recall 1/2, solved
    }
    return {f"library/{claim}": value for claim, value in found.items()}


# ---------------------------------------------------------------------------------------- what became of it


@dataclass(frozen=True)
class Entry:
    """What became of some claims, as claims.yaml says it.

    claims:    ids, or patterns of ids with * ? [123]
    status:    one of `STATUSES`
    why:       a sentence
    data:      the data sets that are missing, keys of `DATA`
    notebook:  which notebook measures or draws it, or would
    profile, result: the result file and the key in it; {dataset}, {metric}, {method}, {group} and {name}
               stand for the parts of the claim's id, in `data` too
    protocol:  the function that computes the number, module.function in this library
    tolerance: how far the result may lie from the paper's number, and `reason`, why so far
    """

    claims: tuple[str, ...]
    status: str
    why: str
    data: tuple[str, ...] = ()
    notebook: str = ""
    profile: str = ""
    result: str = ""
    protocol: str = ""
    tolerance: float | None = None
    reason: str = ""

    def speaks_for(self, claim: str) -> bool:
        return any(fnmatchcase(claim, pattern) for pattern in self.claims)

    def key(self, claim: str) -> tuple[str, str, str]:
        """Where a claim's result is: (profile, notebook, key)."""
        return self.profile, self.notebook, self.result.format_map(_parts(claim))

    def missing_data(self, claim: str) -> list[str]:
        return [name.format_map(_parts(claim)) for name in self.data]


def _parts(claim: str) -> dict[str, str]:
    group, *rest = claim.split("/")
    if group.startswith("table-"):
        dataset, metric, method = rest
        return {"dataset": dataset, "metric": metric, "method": RESULT_NAMES.get(method, method)}
    return {"group": group, "name": "/".join(rest)}


def load(path: Path = CLAIMS) -> list[Entry]:
    """Read claims.yaml; ValueError where an entry lacks a field or has an unknown one."""
    entries = []
    known = {field.name for field in fields(Entry)}
    for number, given in enumerate(yaml.safe_load(path.read_text(encoding="utf-8")), start=1):
        where = f"Entry {number} of {path.name}"
        if unknown := sorted(set(given) - known):
            raise ValueError(f"{where} has the field {unknown[0]!r}: use {', '.join(sorted(known))}.")
        if absent := sorted({"claims", "status", "why"} - set(given)):
            raise ValueError(f"{where} lacks the field {absent[0]!r}: an entry needs claims, status and why.")
        lists = {name: tuple(given[name]) for name in ("claims", "data") if name in given}
        entries.append(Entry(**given | lists))
    return entries


def stored(root: Path | None = None) -> dict[tuple[str, str, str], float]:
    """All results that claims may rest on: {(profile, notebook, key): number}.

    These are the result files under `outputs/` of the checkout (or of `root`), without those of the quick
    profile, which every machine makes anew; and `counts`.
    """
    found = {(*OWN, key): value for key, value in counts().items()}
    for path in sorted(((root or project_root()) / "outputs").glob("*/results/*.json")):
        profile = path.parents[1].name
        if profile != "quick":
            values = json.loads(path.read_text(encoding="utf-8"))["values"]
            found |= {(profile, path.stem, key): value for key, value in values.items()}
    return found


def problems(entries: list[Entry], published: dict, results: dict) -> list[str]:
    """What is wrong with the ledger, a sentence each; nothing where it is complete and true.

    `published` as `claims` gives it, `results` as `stored` does.
    """
    found = []
    for claim, value in published.items():
        speaking = [entry for entry in entries if entry.speaks_for(claim)]
        if len(speaking) != 1:
            found.append(f"{claim} has {len(speaking)} entries: one must speak for it.")
        for entry in speaking:
            found += _untrue(claim, value, entry, results)
    for entry in entries:
        for pattern in entry.claims:
            if not any(fnmatchcase(claim, pattern) for claim in published):
                found.append(f"{pattern} is no claim of the paper.")
        found += _incomplete(entry)
    return found


def _incomplete(entry: Entry) -> list[str]:
    found, name = [], entry.claims[0]
    if entry.status not in STATUSES:
        found.append(f"{name} has the status {entry.status!r}: use {', '.join(STATUSES)}.")
    if (entry.status == "needs data") != bool(entry.data):
        found.append(f"{name} is {entry.status!r} with the data {list(entry.data)}: they go together.")
    if entry.notebook and not (project_root() / f"notebooks/{entry.notebook}.ipynb").is_file():
        found.append(f"{name} names the notebook {entry.notebook}, which does not exist.")
    plan = (entry.notebook, entry.profile, entry.result, entry.protocol, entry.reason)
    if any(plan[1:]) or entry.tolerance is not None or entry.status in MEASURED:
        if not all(plan) or entry.tolerance is None:
            found.append(
                f"{name} has part of a measurement: notebook, profile, result, protocol, tolerance, reason."
            )
    if entry.protocol:
        module, _, function = entry.protocol.rpartition(".")
        try:
            known = callable(getattr(importlib.import_module(f"defusion_lib.{module}"), function, None))
        except ImportError:
            known = False
        if not known:
            found.append(f"{name} names the protocol {entry.protocol}, which the library does not have.")
    return found


def _untrue(claim: str, value: float | None, entry: Entry, results: dict) -> list[str]:
    for data in entry.missing_data(claim):
        if data not in DATA:
            return [f"{claim} needs the data {data!r}, which nobody knows: use {', '.join(DATA)}."]
    if not entry.result or entry.tolerance is None:
        return []
    if value and entry.tolerance >= abs(value):
        return [f"{claim} is {value}: a tolerance of {entry.tolerance} would accept zero."]
    where = entry.key(claim)
    named = "{}/{}, {}".format(*where)
    if where not in results:
        said = f"{claim} is said to be {entry.status!r}, but there is no result {named}."
        return [said] if entry.status in MEASURED else []
    if value is None:
        return [f"{claim} has no published number to hold the result {named} against."]
    # The last digit of decimal fractions is not exact: a difference of just the tolerance is inside.
    inside = abs(results[where] - value) <= entry.tolerance * (1 + 1e-9)
    true = MEASURED[0] if inside else MEASURED[1]
    if entry.status == true:
        return []
    return [
        f"{claim} is said to be {entry.status!r}, but the result {named} is {results[where]:.6g}, "
        f"the paper's {value:.6g}, the tolerance {entry.tolerance:g}: it is {true!r}."
    ]


# ------------------------------------------------------------------------------------------------- rendered


def assigned(entries: list[Entry]) -> dict[str, Entry]:
    """The entry of each claim, {id: entry}; claims without one are left out."""
    return {claim: entry for claim in claims() for entry in entries if entry.speaks_for(claim)}


def tally(entries: list[Entry]) -> dict[str, dict[str, int]]:
    """How many claims of each part of the paper have each status: {group: {status: number}}."""
    found = {group: dict.fromkeys(STATUSES, 0) for group in GROUPS}
    for claim, entry in assigned(entries).items():
        found[group_of(claim)][entry.status] += 1
    return found


def summary_table(entries: list[Entry] | None = None) -> str:
    """`tally` as a Markdown table with sums, for the README."""
    rows = {GROUPS[group]: list(row.values()) for group, row in tally(entries or load()).items()}
    rows["all"] = [sum(column) for column in zip(*rows.values())]
    lines = [
        "| claims of the paper | " + " | ".join(["number", *STATUSES]) + " |",
        "|---|" + "---:|" * (1 + len(STATUSES)),
    ]
    lines += [f"| {name} | " + " | ".join(map(str, [sum(row), *row])) + " |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"
