"""Write a new notebook that follows the rules of the collection, and its row in the list of the notebooks.

python -m tools.new_notebook 15_my_question "What do I want to know?"
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbformat import v4

from defusion_lib.paths import display_path, project_root

ROW = re.compile(r"\| \[\w+\]\((?P<stem>\w+)\.ipynb\)")
OPENING = """\
# {number} · {title}

- **What.** One sentence: what this notebook computes.
- **Why.** One sentence: why a reader should care.
- **Needs.** With these parameters: seconds, no GPU, no download, on rendered photos.
- **You will learn** one thing that a reader can do afterwards.
- **In the paper:** the section, table or figure."""
PARAMETERS = """\
# Parameters
profile = "quick"  # name of the run: results go to outputs/<profile>/
seed = 0  # of all random numbers
dataset = "synthetic"  # the data set, a name in data.datasets.DATASETS
data_root = ""  # the folder of that data set; empty for data/<dataset>
count = 4  # number of rendered photos
size = 160  # pixels per side of the network's input"""
START = """\
from defusion_lib import Evaluation, detect, load_network, open_dataset, runs
from defusion_lib.data.datasets import DATASETS
from defusion_lib.evaluation.tables import table
from defusion_lib.weights import result_name, weights_hash

run = runs.start(
    "{stem}",
    globals(),
    limits={{"dataset": tuple(DATASETS), "count": (1, 10_000), "size": (32, 2048)}},
)"""
MEASURE = """\
photos = open_dataset(dataset, "test", data_root, count=count, seed=seed)
network = load_network(device=run.device)
run.note(weights_sha256=weights_hash(network))
evaluation = Evaluation()
for photo in photos:
    evaluation.add(detect(photo.image, network, size), photo.mask)
name, values = result_name(network), evaluation.values()
table({name: values}, digits=2)"""
FINISH = """\
run.results({f"{photos.name}/{name}/{metric}": value for metric, value in values.items()}, data=photos)
run.finish()"""


def notebook(stem: str, title: str) -> nbformat.NotebookNode:
    """Make the notebook, not executed; raise ValueError for a stem that is not like `15_my_question`."""
    if not re.fullmatch(r"\d\d[a-z]?_[a-z0-9_]+", stem):
        raise ValueError(f"{stem!r} is not a name of a notebook: expected a number and words, such as 15_my_question.")
    sources = (
        v4.new_markdown_cell(OPENING.format(number=stem.partition("_")[0], title=title)),
        v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        v4.new_code_cell(START.format(stem=stem)),
        v4.new_markdown_cell("## The first question\n\nWrite what the next cell shows."),
        v4.new_code_cell(MEASURE),
        v4.new_code_cell(FINISH),
    )
    for number, cell in enumerate(sources):
        cell.id = f"cell-{number:02}"
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    return v4.new_notebook(cells=list(sources), metadata=metadata)


def listed(page: str, stem: str, title: str) -> str:
    """Return the list of the notebooks with a row for a new one, in the order of their names.

    Raises ValueError where the list has no row of a notebook before it.
    """
    lines = page.splitlines(keepends=True)
    before = [place for place, line in enumerate(lines, 1) if (row := ROW.match(line)) and row["stem"] < stem]
    if not before:
        raise ValueError(f"notebooks/README.md has no row for a notebook before {stem}, below which to write its own.")
    lines.insert(before[-1], f"| [{stem.partition('_')[0]}]({stem}.ipynb) | {title} | | |\n")
    return "".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 0, or 1 after one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m tools.new_notebook", description=__doc__.splitlines()[0])
    parser.add_argument("stem", help="its file name without ending, such as 15_my_question")
    parser.add_argument("title", help="its title")
    given = parser.parse_args(arguments)
    folder: Path = project_root() / "notebooks"
    path, page = folder / f"{given.stem}.ipynb", folder / "README.md"
    try:
        made = notebook(given.stem, given.title)
        text = listed(page.read_text(encoding="utf-8"), given.stem, given.title)
        if path.exists():
            raise FileExistsError(f"{display_path(path)} exists already: choose another name.")
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    nbformat.write(made, path)
    page.write_text(text, encoding="utf-8")
    print(f"wrote {display_path(path)}: make lab opens it, make store executes it and stores its results")
    print(f"wrote its row in {display_path(page)}: name there what of the paper it is about")
    return 0


if __name__ == "__main__":
    sys.exit(main())
