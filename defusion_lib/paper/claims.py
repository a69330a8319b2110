"""Every number and figure of the paper is a claim; claims.yaml records the status of each.

A claim's id comes from `defusion_lib.paper.tables`: `table-1/shi/mae/defusionnet`, `count/shi-train`,
`setting/momentum`, `timing/training`, `figure-12`. A record of claims.yaml covers one or more claims
(`table-1/*/jnb`). `problems` compares the records with the result files in the checkout's `outputs/` and with
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
from defusion_lib.data.shi import SPLITS, read_manifest, split_stems
from defusion_lib.losses import deep_supervision, side_loss
from defusion_lib.metrics import f_measure
from defusion_lib.network import CHANNELS, DeFusionNet, Maps
from defusion_lib.paper.tables import COUNTS, FIGURES, OUTPUTS, SETTINGS, TABLE_1, TABLE_2, TABLE_3, TIMINGS
from defusion_lib.paths import project_root
from defusion_lib.training import Recipe, make_optimiser

RECORDS = Path(__file__).with_name("claims.yaml")
COUNTS_FILE = ("quick", "06_claims")  # the profile and the notebook that store the results of `counts`
STATUSES = ("reproduced", "differs", "needs data", "needs a GPU", "not attempted")
MEASURED = STATUSES[:2]
DATA = {name: dataset.title for name, dataset in DATASETS.items()} | {
    "shi-motion": "the 296 motion-blurred photos of Shi et al.'s 1000",
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
# The photos on which a data set's claims are compared, where the paper's text says which of them: see claims.yaml.
PHOTOS = {"shi": "shi-last100"}
# Names in result files of networks that have another name in the paper's tables.
RESULT_NAMES = {"cvpr19": "defusionnet+nocam+nofam", "defusionnet+step3": "defusionnet"}


# -------------------------------------------------------------------------------------- claims of the paper


def claims() -> dict[str, float | None]:
    """Return all claims, {id: published number}; None for figures and illegible table cells.

    Figures that only draw the network are no claims.
    """
    found = {}
    for number, table in enumerate((TABLE_1, TABLE_2, TABLE_3), start=1):
        found |= {f"table-{number}/{'/'.join(cell)}": value for cell, value in table.items()}
    for group, stated in (("count", COUNTS), ("setting", SETTINGS), ("timing", TIMINGS)):
        found |= {f"{group}/{name}": statement.value for name, statement in stated.items()}
    found["count/outputs"] = OUTPUTS
    return found | {f"figure-{number}": None for number in FIGURES}


def group_of(claim: str) -> str:
    """Return the part of the paper that a claim belongs to, a key of `GROUPS`."""
    first = claim.partition("/")[0]
    return "figure" if first.startswith("figure-") else first


def counts() -> dict[str, float]:
    """Compute the counts and settings of the library, {"library/count/shi-train": 604, ...}.

    They are computed from the lists, the network, its optimiser and its loss, not read from
    `defusion_lib.paper.tables`. Learning rate and weight decay are converted to the paper's loss, the sum over 320x320
    pixels. Raises ValueError if the two splits of Shi's set differ in size.
    """
    (train,) = {len(split_stems(split, "train")) for split in SPLITS}
    (test,) = {len(split_stems(split, "test")) for split in SPLITS}
    photos = PhotoSet("shi-last100", split_stems("last100", "train"), read=None)

    # Tensors without data: only shapes and settings of the reference network are needed.
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

    # Only the paper's methods: a user may have added baselines.
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


# ------------------------------------------------------------------------------------------ status of claims


@dataclass(frozen=True)
class Record:
    """The status of one or more claims, as read from claims.yaml.

    claims:    ids, or patterns of ids with * ? [123]
    status:    one of `STATUSES`
    why:       a sentence
    data:      the missing data sets, keys of `DATA`
    notebook:  the notebook that measures or draws it, or would do so
    profile, result: the result file and the key in it; {dataset}, {metric}, {method}, {group} and {name} are replaced
               by the parts of the claim's id, in `data` too, and {photos} by those of its data set (`PHOTOS`)
    protocol:  the function that computes the number, module.function in this library
    tolerance: the largest accepted difference from the paper's number
    reason:    why the tolerance has this size
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

    def covers(self, claim: str) -> bool:
        """Return whether the record has a pattern that matches the claim."""
        return any(fnmatchcase(claim, pattern) for pattern in self.claims)

    def key(self, claim: str) -> tuple[str, str, str]:
        """Return where a claim's result is stored: (profile, notebook, key)."""
        return self.profile, self.notebook, self.result.format_map(_parts(claim))

    def missing_data(self, claim: str) -> list[str]:
        """Return the data sets that are missing for a claim."""
        return [name.format_map(_parts(claim)) for name in self.data]


def _parts(claim: str) -> dict[str, str]:
    group, *rest = claim.split("/")
    if group.startswith("table-"):
        dataset, metric, method = rest
        photos = PHOTOS.get(dataset, dataset)
        return {
            "dataset": dataset,
            "photos": photos,
            "metric": metric,
            "method": RESULT_NAMES.get(method, method),
        }
    return {"group": group, "name": "/".join(rest)}


def load(path: Path = RECORDS) -> list[Record]:
    """Read claims.yaml; raises ValueError if a record lacks a field or has an unknown one."""
    records = []
    known = {field.name for field in fields(Record)}
    for number, given in enumerate(yaml.safe_load(path.read_text(encoding="utf-8")), start=1):
        where = f"Record {number} of {path.name}"
        if unknown := sorted(set(given) - known):
            raise ValueError(f"{where} has the field {unknown[0]!r}: use {', '.join(sorted(known))}.")
        if absent := sorted({"claims", "status", "why"} - set(given)):
            raise ValueError(f"{where} lacks the field {absent[0]!r}: a record needs claims, status and why.")
        lists = {name: tuple(given[name]) for name in ("claims", "data") if name in given}
        records.append(Record(**given | lists))
    return records


def load_results() -> dict[tuple[str, str, str], float]:
    """Load all results that may support claims: {(profile, notebook, key): number}.

    These are the result files under `outputs/` of the checkout, without those of the quick profile, which differ
    between machines; and `counts`.
    """
    found = {(*COUNTS_FILE, key): value for key, value in counts().items()}
    for path in sorted((project_root() / "outputs").glob("*/results/*.json")):
        profile = path.parents[1].name
        if profile != "quick":
            values = json.loads(path.read_text(encoding="utf-8"))["values"]
            found |= {(profile, path.stem, key): value for key, value in values.items()}
    return found


def problems(records: list[Record], published: dict, results: dict) -> list[str]:
    """Return the errors in the records, one sentence each; empty if they are complete and true.

    `published` as `claims` returns it, `results` as `load_results` does.
    """
    found = []
    for claim, value in published.items():
        covering = [record for record in records if record.covers(claim)]
        if len(covering) != 1:
            found.append(f"{claim} has {len(covering)} records, expected one: edit {RECORDS.name}.")
        for record in covering:
            found += _untrue(claim, value, record, results)
    for record in records:
        for pattern in record.claims:
            if not any(fnmatchcase(claim, pattern) for claim in published):
                found.append(f"{pattern} matches no claim of the paper.")
        found += _incomplete(record)
    return found


def _incomplete(record: Record) -> list[str]:
    found, name = [], record.claims[0]
    if record.status not in STATUSES:
        found.append(f"{name} has the status {record.status!r}: use {', '.join(STATUSES)}.")
    if (record.status == "needs data") != bool(record.data):
        found.append(f"{name} is {record.status!r} with the data {list(record.data)}: list data for 'needs data' only.")
    if record.notebook and not (project_root() / f"notebooks/{record.notebook}.ipynb").is_file():
        found.append(f"{name} names the notebook {record.notebook}, which does not exist.")
    plan = (record.notebook, record.profile, record.result, record.protocol, record.reason)
    if any(plan[1:]) or record.tolerance is not None or record.status in MEASURED:
        if not all(plan) or record.tolerance is None:
            required = "notebook, profile, result, protocol, tolerance, reason"
            found.append(f"{name} has part of a measurement: add the missing ones of {required}.")
    if record.protocol:
        module, _, function = record.protocol.rpartition(".")
        try:
            known = callable(getattr(importlib.import_module(f"defusion_lib.{module}"), function, None))
        except ImportError:
            known = False
        if not known:
            found.append(f"{name} names the protocol {record.protocol}, which the library does not have.")
    return found


def _untrue(claim: str, value: float | None, record: Record, results: dict) -> list[str]:
    for data in record.missing_data(claim):
        if data not in DATA:
            return [f"{claim} needs the data {data!r}, which is unknown: use {', '.join(DATA)}."]
    if not record.result or record.tolerance is None:
        return []
    if value and record.tolerance >= abs(value):
        return [f"{claim} is {value}: a tolerance of {record.tolerance} would accept zero."]
    where = record.key(claim)
    named = "{}/{}, {}".format(*where)
    photos = _parts(claim).get("photos")
    if photos and where[2].partition("/")[0] != photos:
        return [f"{claim} is compared with the result {named}: expected one on {photos}, as the paper's text says."]
    if where not in results:
        missing = f"{claim} has the status {record.status!r}, but there is no result {named}."
        return [missing] if record.status in MEASURED else []
    if value is None:
        return [f"{claim} has no published number to compare with the result {named}."]
    # Decimal fractions are not exact in binary: a difference equal to the tolerance is inside.
    inside = abs(results[where] - value) <= record.tolerance * (1 + 1e-9)
    true = MEASURED[0] if inside else MEASURED[1]
    if record.status == true:
        return []
    return [
        f"{claim} has the status {record.status!r}, but the result {named} is {results[where]:.6g}, "
        f"the paper's {value:.6g}, the tolerance {record.tolerance:g}: change it to {true!r}."
    ]


# --------------------------------------------------------------------------------------------------- tables


def assigned(records: list[Record]) -> dict[str, Record]:
    """Return the record of each claim, {id: record}, without claims that have none."""
    return {claim: record for claim in claims() for record in records if record.covers(claim)}


def tally(records: list[Record]) -> dict[str, dict[str, int]]:
    """Count the claims of each part of the paper by status: {group: {status: number}}."""
    found = {group: dict.fromkeys(STATUSES, 0) for group in GROUPS}
    for claim, record in assigned(records).items():
        found[group_of(claim)][record.status] += 1
    return found


def tally_rows(records: list[Record]) -> dict[str, dict[str, int]]:
    """Return the rows of the table of `tally`, with sums: {part: {"number": claims, status: claims, ...}}."""
    counted = tally(records)
    rows = {GROUPS[group]: {"number": sum(row.values()), **row} for group, row in counted.items()}
    return rows | {"all": {name: sum(row[name] for row in rows.values()) for name in ("number", *STATUSES)}}


def summary_table(records: list[Record]) -> str:
    """Format `tally_rows` as a Markdown table, for the README."""
    rows = tally_rows(records)
    lines = [
        "| claims of the paper | " + " | ".join(rows["all"]) + " |",
        "|---|" + "---:|" * len(rows["all"]),
    ]
    lines += [f"| {name} | " + " | ".join(map(str, row.values())) + " |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"
