"""Table 1: methods on the same photographs, as lines of text, and beside what papers say of them."""

from collections.abc import Mapping
from typing import NamedTuple

# Scored on Shi's set with the other positive class than the rest of Table 1, as notebook 05 infers.
IN_FOCUS = ("btbnet", "cvpr19", "defusionnet")


def lines(title: str, rows: Mapping[str, Mapping[str, float]], width: int = 22) -> str:
    """A table of {method: {metric: value}} with three digits, under its title; all rows have the same metrics."""
    metrics = list(next(iter(rows.values())))
    columns = [max(len(metric), 6) + 2 for metric in metrics]
    head = f"{title:{width}}" + "".join(f"{metric:>{column}}" for metric, column in zip(metrics, columns))
    return "\n".join(
        [head]
        + [
            f"{name:{width}}" + "".join(f"{row[metric]:{column}.3f}" for metric, column in zip(metrics, columns))
            for name, row in rows.items()
        ]
    )


def beside(dataset: str, method: str) -> dict[str, str]:
    """{column of Table 1: our metric that its numbers of this method fit} on "shi", "dut" or "ctcug" (notebook 05)."""
    positive = "focus" if dataset == "shi" and method in IN_FOCUS else "blur"
    return {"mae": "mae", "f": f"max-f-{positive}", "auc": f"auc-paper-{positive}"}


class Quoted(NamedTuple):
    """Two numbers of another paper, for a data set: MAE, and F at 0.5 with blurred pixels positive."""

    mae: float
    f: float


# D-DFFNet (Jin et al., ICME 2023), its table of results: one program scored all these maps. On Shi's set the 100
# photographs are those of dutlab100. Methods as in the result files where this collection has them.
D_DFFNET = {
    "shi": {
        "dbdf": Quoted(0.292, 0.806),
        "lbp": Quoted(0.154, 0.917),
        "hifst": Quoted(0.223, 0.803),
        "btbnet": Quoted(0.110, 0.949),
        "BTBNet2 2019": Quoted(0.085, 0.935),
        "CENet 2019": Quoted(0.061, 0.945),
        "BR2Net 2020": Quoted(0.059, 0.966),
        "DD 2020": Quoted(0.045, 0.966),
        "IS2CNet 2021": Quoted(0.049, 0.964),
        "DFFNet 2023": Quoted(0.039, 0.971),
        "D-DFFNet 2023": Quoted(0.036, 0.973),
    },
    "dut": {
        "dbdf": Quoted(0.384, 0.754),
        "lbp": Quoted(0.199, 0.873),
        "hifst": Quoted(0.313, 0.839),
        "btbnet": Quoted(0.196, 0.861),
        "BTBNet2 2019": Quoted(0.145, 0.873),
        "CENet 2019": Quoted(0.141, 0.869),
        "BR2Net 2020": Quoted(0.083, 0.943),
        "DD 2020": Quoted(0.074, 0.935),
        "defusionnet": Quoted(0.085, 0.952),
        "IS2CNet 2021": Quoted(0.142, 0.868),
        "DFFNet 2023": Quoted(0.072, 0.938),
        "D-DFFNet 2023": Quoted(0.070, 0.939),
    },
    "ctcug": {
        "dbdf": Quoted(0.360, 0.668),
        "lbp": Quoted(0.291, 0.732),
        "hifst": Quoted(0.274, 0.775),
        "btbnet": Quoted(0.177, 0.809),
        "CENet 2019": Quoted(0.117, 0.845),
        "BR2Net 2020": Quoted(0.140, 0.834),
        "DD 2020": Quoted(0.155, 0.797),
        "defusionnet": Quoted(0.132, 0.828),
        "IS2CNet 2021": Quoted(0.112, 0.858),
        "DFFNet 2023": Quoted(0.082, 0.879),
        "D-DFFNet 2023": Quoted(0.074, 0.892),
    },
}
