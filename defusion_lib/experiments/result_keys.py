"""Turn nested scores into the keys of result files."""

from collections.abc import Mapping


def result_keys(dataset: str, scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Return {"dataset/method/metric": value} of {method: {metric: value}}, as `Run.results` takes it."""
    return {f"{dataset}/{method}/{metric}": value for method, row in scores.items() for metric, value in row.items()}
