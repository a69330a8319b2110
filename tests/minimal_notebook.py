"""A notebook of four short cells that keeps every rule of the collection, to be broken or run by tests."""

import nbformat
from nbformat import v4

PARAMETERS = """\
# Parameters
profile = "quick"  # name of the run
seed = 0  # of everything random
size = 4  # how much
rates = [0.5]  # how fast"""
START = """\
from defusion_lib import runs

run = runs.start("{stem}", globals(), limits={{"size": (1, 100)}})"""
BODY = """\
mae = size / 10 * sum(rates)
print(mae)"""
FINISH = """\
run.results({{"synthetic/tiny/mae": mae}})
run.finish()"""


def minimal_notebook(stem="00-tiny", body=BODY):
    """The notebook as if it had been executed, with 0.2 and a line for each other cell that prints."""
    cells = [
        v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        v4.new_code_cell(START.format(stem=stem), outputs=[v4.new_output("stream", name="stdout", text="shown\n")]),
        v4.new_code_cell(body, outputs=[v4.new_output("stream", name="stdout", text="0.2\n")]),
        v4.new_code_cell(FINISH.format(stem=stem), outputs=[v4.new_output("stream", name="stdout", text="said\n")]),
    ]
    for number, cell in enumerate(cells, start=1):
        cell.execution_count = number
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    return v4.new_notebook(cells=cells, metadata=metadata)


def write_notebook(path, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(minimal_notebook(path.stem, **how), path)
    return path
