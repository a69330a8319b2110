"""Our results beside the paper's numbers for orientation: the other split, and small networks. They give no status."""

from collections.abc import Mapping

from defusion_lib.baselines import CLASSICAL
from defusion_lib.evaluation.tables import MEASURES
from defusion_lib.paper.claims import PHOTOS, RESULT_NAMES, Record, assigned
from defusion_lib.paper.tables import METRICS, TABLE_1, TABLE_2, TABLE_3, matching_metrics

Results = Mapping[tuple[str, str, str], float]  # as `claims.load_results` returns them
MISSING = "not stored"
FIELDS = "shi-dutlab100"  # the split that most of the field uses
SMALL = {"box": FIELDS, "cpu": FIELDS, "cpu-last100": "shi-last100"}  # profiles with a small network, and their photos
OF_FIELDS_SPLIT = ("cpu", "07_table_1")  # the profile and the notebook with results on it


def both_splits(records: list[Record], results: Results) -> dict[str, dict[str, object]]:
    """Return the rows of a table of the classical methods on both splits of Shi's set, {"method, metric": columns}.

    The split of the paper's text decides the status; the difference of the other split is beside it.
    """
    claimed, rows = assigned(records), {}
    for method in CLASSICAL:
        if ("shi", "f", method) not in TABLE_1:
            continue
        for metric in METRICS:
            claim, paper = f"table-1/shi/{metric}/{method}", TABLE_1["shi", metric, method]
            record = claimed[claim]
            here = results.get(record.key(claim), MISSING)
            other = results.get(
                (*OF_FIELDS_SPLIT, f"{FIELDS}/{method}/{matching_metrics('shi', method)[metric]}"), MISSING
            )
            rows[f"{method}, {metric}"] = {
                "paper": paper,
                PHOTOS["shi"]: here,
                "difference": _difference(here, paper),
                "tolerance": record.tolerance,
                "status": record.status,
                FIELDS: other,
                "its difference": _difference(other, paper),
            }
    return rows


def _difference(here: float | str, paper: float) -> float | str:
    return MISSING if isinstance(here, str) else here - paper


def small_networks(results: Results) -> dict[str, dict[str, object]]:
    """Return the rows of a table of the paper's DeFusionNet on Shi's set beside small networks, {row: columns}.

    The columns are the measures that fit the paper's numbers, with their standard errors over the photos where these
    are stored. The map that marks everything stands before the networks.
    """
    columns = {MEASURES[ours]: (metric, ours) for metric, ours in matching_metrics("shi", "defusionnet").items()}
    rows: dict[str, dict[str, object]] = {
        "the paper, its text: last100": {
            words: TABLE_1["shi", metric, "defusionnet"] for words, (metric, _) in columns.items()
        }
    }
    for profile, split in SMALL.items():
        of_profile = {key: value for (*where, key), value in results.items() if where == [profile, "04_evaluation"]}
        photos = split.removeprefix("shi-")
        named = {"all-blurred": f"all-blurred, {photos}", "defusionnet-compact": f"profile {profile}, {photos}"}
        for method, row in named.items():
            rows[row] = {words: _found(of_profile, f"{split}/{method}", ours) for words, (_, ours) in columns.items()}
    return rows


def _found(values: Mapping[str, float], name: str, metric: str) -> float | str:
    """Return a network's result under its name, or under that of a network that fuses at a stride of 2."""
    keys = [f"{each}/{metric}" for each in (f"{name}+stride2", name)]
    return next((_stated(values, key) for key in keys if key in values), MISSING)


def _stated(values: Mapping[str, float], key: str) -> float | str:
    """Return a result; with its standard error, or its standard deviation over seeds, where one is stored."""
    spread = next((values[f"{key}{end}"] for end in ("-se", "-std") if f"{key}{end}" in values), None)
    return values[key] if spread is None else f"{values[key]:.3f} ± {spread:.3f}"


def small_ablations(results: Results) -> dict[str, dict[str, object]]:
    """Return the rows of a table of the paper's ablations beside small networks of profile cpu, {method: columns}.

    The small ones fuse at a stride of 2. ± is the standard deviation over seeds.
    """
    cpu = {
        key: value
        for (profile, notebook, key), value in results.items()
        if (profile, notebook) == ("cpu", "08_ablations")
    }
    rows: dict[str, dict[str, object]] = {}
    for method in dict.fromkeys(method for *_, method in TABLE_2 | TABLE_3):
        name = RESULT_NAMES.get(method, method).replace("defusionnet", "defusionnet-compact")
        base, output, number = name.partition("+o")
        key = f"{FIELDS}/{base}+stride2{output}{number}"
        rows[method] = {}
        for metric, ours in (("mae", "mae"), ("f", "max-f-focus")):
            title = MEASURES[ours]
            rows[method][f"{title}: paper"] = (TABLE_2 | TABLE_3)["shi", metric, method]
            found = f"{key}/{ours}"
            rows[method][f"{title}: profile cpu"] = _stated(cpu, found) if found in cpu else MISSING
    return rows
