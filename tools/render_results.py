"""Read result files, and format their numbers for the pages that tools render."""

import json
from pathlib import Path

from defusion_lib.baselines import CLASSICAL

BEGIN, END = "<!-- results:begin -->\n", "<!-- results:end -->"
ERRORS = ("-se", "-standard-error")  # what a result's name has more where it is the standard error of another


def read(path: Path) -> dict:
    """Read a result file."""
    return json.loads(path.read_text(encoding="utf-8"))


def result(outputs: Path, name: str) -> dict:
    """Read a result file below `outputs`; "box/04_evaluation" names its profile and itself."""
    profile, _, stem = name.partition("/")
    return read(outputs / profile / "results" / f"{stem}.json")


def samples(content: dict) -> int:
    """Count the samples of a training from a result file of notebook 03."""
    return sum(iterations * batch for iterations, _, batch in content["stamp"]["parameters"]["stages"])


def not_attempted(row: dict) -> str:
    """Render the end of a sentence on the counts of `claims.tally_rows`: the claims not attempted, if there are any."""
    return f"; {row['not attempted']} were not attempted" if row["not attempted"] else ""


def find(content: dict, dataset: str, metric: str, method: str) -> str | None:
    """Return the key of a result; a network that fuses its features at half resolution has a longer name."""
    exact, shortened = f"{dataset}/{method}/{metric}", {}
    for key in content["values"]:
        shortened.setdefault(key.replace("+stride2", ""), key)
    return exact if exact in content["values"] else shortened.get(exact)


def cell(content: dict, dataset: str, metric: str, method: str = "defusionnet-compact") -> str:
    """Format one result as "value ± standard error"; empty where it was not measured."""
    values, key = content["values"], find(content, dataset, metric, method)
    if key is None:
        return ""
    return " ± ".join(f"{values[name]:.3f}" for name in (key, *(f"{key}{each}" for each in ERRORS)) if name in values)


def stated(content: dict, dataset: str, metric: str, method: str = "defusionnet-compact") -> str:
    """Format one result like `cell`; raise KeyError where it was not measured."""
    found = cell(content, dataset, metric, method)
    if not found:
        raise KeyError(f"The result file has no {dataset}/{method}/{metric}.")
    return found


def classical_methods(content: dict, dataset: str) -> list[str]:
    """Return the classical methods whose AUC on a data set is in a result file; a method that is newer is not."""
    return [method for method in CLASSICAL if f"{dataset}/{method}/auc" in content["values"]]


def signed(value: float, digits: int = 3) -> str:
    """Format a difference with its sign; what rounds to zero has none."""
    text = f"{value:+.{digits}f}"
    return text if float(text) else text[1:]


def photos(content: dict, dataset: str) -> int:
    """Return how many photos of a data set were measured; photos for training are listed before those for testing."""
    data = content["stamp"]["data"]
    return [each["photographs"] for each in (data if isinstance(data, list) else [data]) if each["name"] == dataset][-1]


def rows_of(head: list[str], rows: list[list[str]], words: int = 1) -> str:
    """Format a table as Markdown: words in the first columns, one or more, and numbers in the others."""
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def rendered(page: str, tables: str) -> str:
    """Return a page's text with tables between its marks; raise ValueError where the marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"The page has no place for results: expected the lines {BEGIN.strip()} and {END}.")
    return before + BEGIN + tables + END + after
