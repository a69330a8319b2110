"""What nbval does not ask of the committed notebooks, and what it needs in order to mean something.

nbval passes where a notebook was never run, and where a cell is excused from comparison; it knows nothing of
the parameters. Each check takes a notebook and returns what is wrong with it; below, each is shown to fail.
"""

import ast
import importlib
import io
import os
import re
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from minimal_notebook import minimal_notebook, write_notebook

from defusion_lib.runs import parameters
from tools import execute, graph
from tools.copies import stored

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXECUTED = sorted(stored(ROOT))
PROFILES = sorted((ROOT / "params").glob("*/*"))

SCREEN = 45
MOST_CODE = 150
ABSOLUTE = re.compile(
    r"(?<![\w.:/…])(?:/(?:home|root|tmp|work|Users|opt|usr|var|mnt|media|private|srv|content|data)/[\w.-]"
    r"|[A-Z]:\\\w)"
)
EXCUSE = re.compile(r"#\s*not compared: \w+", re.IGNORECASE)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def tagged(cell, tag):
    return tag in cell.metadata.get("tags", [])


def parameters_cell(notebook):
    return next((cell for cell in code_cells(notebook) if tagged(cell, "parameters")), None)


def tree(cell):
    return ast.parse(TransformerManager().transform_cell(cell.source))


def texts(output):
    """The texts of an output that a reader sees, and nbval compares."""
    if output.output_type == "stream":
        return [output.text]
    return [text for kind, text in output.get("data", {}).items() if kind.startswith("text/")]


def excused(cell):
    return tagged(cell, "nbval-ignore-output") or "NBVAL_IGNORE_OUTPUT" in cell.source


# -------------------------------------------------------------------------------------------------- checks


def was_run_once_from_top_to_bottom(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"execution counts are {counts}"]


def has_compared_text(notebook):
    found = [
        text
        for cell in code_cells(notebook)
        if not excused(cell)
        for output in cell.outputs
        for text in texts(output)
        if text.strip() and not text.startswith("<Figure")
    ]
    return [] if found else ["no output is text that nbval compares"]


def has_no_error(notebook):
    return [f"holds {output.ename}: {output.evalue}" for output in outputs(notebook) if output.output_type == "error"]


def has_no_stderr(notebook):
    return [f"stderr: {output.text!r}" for output in outputs(notebook) if output.get("name") == "stderr"]


def names_no_folder_of_a_machine(notebook):
    seen = [cell.source for cell in notebook.cells] + [text for output in outputs(notebook) for text in texts(output)]
    seen.append(str({key: value for key, value in notebook.metadata.items() if key != "widgets"}))
    return [
        f"absolute path in {text[max(0, m.start() - 20) : m.end() + 40]!r}"
        for text in seen
        for m in ABSOLUTE.finditer(text)
    ]


def keeps_the_state_of_its_widgets(notebook):
    kinds = notebook.metadata.get("widgets", {})
    return [f"metadata.widgets[{kind!r}] has no state" for kind, value in kinds.items() if "state" not in value]


def compares_every_cell_or_says_why(notebook):
    problems = [
        f"cell [{cell.execution_count}] is excused without a comment `# not compared: reason`"
        for cell in code_cells(notebook)
        if excused(cell) and not EXCUSE.search(cell.source)
    ]
    problems += [
        f"cell [{cell.execution_count}] says that it is not compared, and has no tag nbval-ignore-output"
        for cell in code_cells(notebook)
        if EXCUSE.search(cell.source) and not excused(cell)
    ]
    for cell in code_cells(notebook):
        for word in ("nbval-skip", "nbval-raises-exception", "raises-exception", "nbval-check-output"):
            if tagged(cell, word) or word.upper().replace("-", "_") in cell.source:
                problems.append(f"cell [{cell.execution_count}] is tagged {word}")
    return problems


def has_one_parameters_cell(notebook):
    cells = [cell for cell in code_cells(notebook) if tagged(cell, "parameters")]
    if len(cells) != 1 or cells[0] is not code_cells(notebook)[0]:
        return [f"{len(cells)} cells tagged parameters, wanted: the first code cell and no other"]
    if cells[0].source.partition("\n")[0] != parameters.MARKER:
        return [f"the parameters cell begins with {cells[0].source.partition(chr(10))[0]!r}, not {parameters.MARKER!r}"]
    try:
        defaults = parameters.read_parameters(cells[0].source)
        parameters.check_parameters(defaults, {}, stated_limits(notebook))
    except ValueError as error:
        return [str(error)]
    if defaults["profile"] != "quick" or list(defaults)[1:2] != ["seed"]:
        return ['the parameters do not begin with `profile = "quick"` and `seed`']
    return []


def explains_every_parameter(notebook):
    source = parameters_cell(notebook).source
    beside, alone = set(), set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.string != parameters.MARKER:
            (alone if token.line.lstrip().startswith("#") else beside).add(token.start[0])
    return [
        f"parameter {statement.targets[0].id} has no comment beside or above it"
        for statement in ast.parse(source).body
        if statement.lineno - 1 not in alone and not beside & {*range(statement.lineno, statement.end_lineno + 1)}
    ]


def reads_every_parameter(notebook):
    read = read_by_trainer(notebook)
    for cell in code_cells(notebook):
        if cell is not parameters_cell(notebook):
            for node in ast.walk(tree(cell)):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                    read.add(node.id)
                elif isinstance(node, ast.Attribute):
                    read.add(node.attr)
    unread = set(parameters.read_parameters(parameters_cell(notebook).source)) - read - {"profile", "seed"}
    return [f"no cell reads parameter {name}" for name in sorted(unread)]


def read_by_trainer(notebook):
    """The parameters that the module reads which trains and tests the networks of a notebook."""
    trainer = graph.trainer(cell.source for cell in code_cells(notebook))
    if trainer is None:
        return set()
    defaults, read = parameters.read_parameters(parameters_cell(notebook).source), set()

    class Given:
        def __getattr__(self, name):
            read.add(name)
            return defaults[name]

    module = importlib.import_module(trainer)
    module.trainings(Given())
    if hasattr(module, "open_test"):
        module.open_test(Given())
    return read


def begins_and_ends_a_run(notebook):
    problems = [] if start_call(notebook) else ["no cell calls runs.start with the notebook's name first"]
    last = tree(code_cells(notebook)[-1])
    if not any(isinstance(node, ast.Attribute) and node.attr == "finish" for node in ast.walk(last)):
        problems.append("the last cell does not call run.finish()")
    return problems


def notes_its_network(notebook):
    """A network that is loaded is named in the stamp of the results."""
    source = "".join(cell.source for cell in code_cells(notebook))
    if not re.search(r"\bload_network\(", source) or re.search(r"\brun\.note\([^#]*weights_hash(es)?\(", source):
        return []
    return ["loads a network without run.note(weights_sha256=weights_hash(network))"]


def has_short_functions(notebook):
    return [
        f"function {node.name} has {node.end_lineno - node.lineno + 1} lines: move it to the library"
        for cell in code_cells(notebook)
        for node in ast.walk(tree(cell))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= SCREEN
    ]


def has_little_code(notebook):
    """Blank lines and comments do not count."""
    lines = [line.strip() for cell in code_cells(notebook) for line in cell.source.splitlines()]
    count = sum(bool(line) and not line.startswith("#") for line in lines)
    if count <= MOST_CODE:
        return []
    return [f"has {count} lines of code, at most {MOST_CODE} are allowed: move functions to the library"]


def leaves_its_environment_alone(notebook):
    forbidden = re.compile(r"^\s*(!.*|%+(?:pip|conda|cd|env)\b.*)|(sys\.path|os\.chdir)", re.MULTILINE)
    return [f"calls {m[0].strip()!r}" for cell in code_cells(notebook) for m in forbidden.finditer(cell.source)]


def describes_its_pictures(notebook):
    """Each picture has an alternative text, and the same words below it, since JupyterLab shows only these."""
    problems = []
    for cell in code_cells(notebook):
        below = "".join(text for output in cell.outputs for text in texts(output))
        for output in cell.outputs:
            for kind in {"image/png", "image/jpeg"} & output.get("data", {}).keys():
                alternative = output.metadata.get(kind, {}).get("alt", "")
                if not alternative or f"*Picture:* {alternative}" not in below:
                    problems.append(f"a picture of cell [{cell.execution_count}] is not described in words")
            problems += [
                f"{image!r} has no alternative text"
                for image in re.findall("<img[^>]*>", output.get("data", {}).get("text/html", ""))
                if not re.search("alt=.[^'\"]", image)
            ]
    return problems


def carries_its_stamp(notebook):
    wanted = {"notebook", "profile", "parameters", "defaults", "overridden", "commit", "versions", "device"}
    absent = wanted - set(notebook.metadata.get("defusion", {}))
    return [f"the stamp lacks {', '.join(sorted(absent))}"] if absent else []


OF_EVERY = [
    was_run_once_from_top_to_bottom,
    has_no_error,
    names_no_folder_of_a_machine,
    keeps_the_state_of_its_widgets,
]
OF_COMMITTED = [
    *OF_EVERY,
    has_compared_text,
    has_no_stderr,
    compares_every_cell_or_says_why,
    has_one_parameters_cell,
    explains_every_parameter,
    reads_every_parameter,
    begins_and_ends_a_run,
    has_short_functions,
    has_little_code,
    leaves_its_environment_alone,
    notes_its_network,
    describes_its_pictures,
]
OF_EXECUTED = [*OF_EVERY, carries_its_stamp]


def shared_figures(notebooks):
    """Names of figures that more than one notebook says it wrote: the later one would replace the other's."""
    written = []
    for notebook in notebooks:
        said = "".join(text for output in code_cells(notebook)[-1].outputs for text in texts(output))
        written += set(re.findall(r"figures/([\w-]+)\.png", said))
    return sorted(name for name, times in Counter(written).items() if times > 1)


def start_call(notebook):
    """The call of `runs.start` whose first argument is a text, and that text; None where there is none."""
    for cell in code_cells(notebook):
        for node in ast.walk(tree(cell)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "runs.start":
                if node.args and isinstance(node.args[0], ast.Constant):
                    return node
    return None


def stated_limits(notebook):
    """The limits that the notebook gives `runs.start` in plain values, without those that it computes."""
    call = start_call(notebook)
    stated = next((word.value for word in call.keywords if word.arg == "limits"), None) if call else None
    limits = {}
    for name, limit in zip(stated.keys, stated.values) if isinstance(stated, ast.Dict) else ():
        try:
            limits[ast.literal_eval(name)] = ast.literal_eval(limit)
        except ValueError:
            continue
    return limits


def profile_problems(path, notebooks):
    """What is wrong with a file of parameters beside the notebooks in a folder."""
    notebook = notebooks / f"{path.stem}.ipynb"
    if path.suffix != ".yaml" or not notebook.is_file():
        return [f"belongs to no notebook: expected one of {sorted(p.stem for p in notebooks.glob('*.ipynb'))}"]
    document = nbformat.read(notebook, as_version=4)
    problems = [f"absolute path {m[0]!r}" for m in ABSOLUTE.finditer(path.read_text(encoding="utf-8"))]
    try:
        given = execute.read_profile(path.parent.name, path)
        defaults = parameters.read_parameters(parameters_cell(document).source)
        parameters.check_parameters(defaults, given, stated_limits(document), where=path.name)
    except ValueError as error:
        problems.append(str(error))
    return problems


# ------------------------------------------------------------------------------------ what is in the project


@pytest.mark.parametrize("check", OF_COMMITTED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebook(path, check):
    assert check(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_run_has_the_notebooks_name(path):
    call = start_call(nbformat.read(path, as_version=4))
    assert call.args[0].value == path.stem


def test_no_two_notebooks_write_the_same_figure():
    assert shared_figures(nbformat.read(path, as_version=4) for path in NOTEBOOKS) == []


@pytest.mark.parametrize("check", OF_EXECUTED, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", EXECUTED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_executed_notebook(path, check):
    assert check(nbformat.read(path, as_version=4)) == []


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_profile(path):
    assert profile_problems(path, ROOT / "notebooks") == []


# ---------------------------------------------------------------------------------- every check can fail


def test_a_proper_notebook_passes():
    notebook = minimal_notebook()
    notebook.metadata["defusion"] = dict.fromkeys(
        ("notebook", "profile", "parameters", "defaults", "overridden", "commit", "versions", "device")
    )
    for check in OF_COMMITTED + OF_EXECUTED:
        assert check(notebook) == [], check.__name__
    notebook.cells[2].source = "#not compared: a widget's state differs each time\n" + notebook.cells[2].source
    notebook.cells[2].metadata["tags"] = ["nbval-ignore-output"]
    assert compares_every_cell_or_says_why(notebook) == []


def set_source(number, source):
    return lambda notebook: notebook.cells[number].update(source=source)


def set_parameter(old, new):
    return lambda notebook: notebook.cells[0].update(source=notebook.cells[0].source.replace(old, new))


def set_tags(number, *tags):
    return lambda notebook: notebook.cells[number].metadata.update(tags=list(tags))


def set_output(number, kind, **content):
    return lambda notebook: notebook.cells[number].update(outputs=[nbformat.v4.new_output(kind, **content)])


def strip(notebook):
    for cell in notebook.cells:
        cell.update(outputs=[], execution_count=None)


def excuse_all(notebook):
    for cell in notebook.cells:
        cell.metadata["tags"] = ["nbval-ignore-output"]


def show_only_a_figure(notebook):
    for cell in notebook.cells:
        cell.outputs = []
    set_output(2, "display_data", data={"text/plain": "<Figure size 640x480 with 1 Axes>"})(notebook)


FOLDER = "/" + "home/me/photos"
LONG = "def long():\n" + "    pass\n" * SCREEN


@pytest.mark.parametrize(
    ("check", "spoil"),
    [
        (was_run_once_from_top_to_bottom, strip),
        (was_run_once_from_top_to_bottom, lambda notebook: notebook.cells[1].update(execution_count=7)),
        (has_compared_text, strip),
        (has_compared_text, excuse_all),
        (has_compared_text, show_only_a_figure),
        (has_no_error, set_output(2, "error", ename="ValueError", evalue="no", traceback=[])),
        (has_no_stderr, set_output(2, "stream", name="stderr", text="careful\n")),
        (names_no_folder_of_a_machine, set_output(2, "stream", name="stdout", text=f"in {FOLDER}\n")),
        (names_no_folder_of_a_machine, set_output(2, "display_data", data={"text/html": f"<b>{FOLDER}</b>"})),
        (names_no_folder_of_a_machine, set_source(2, f"open('{FOLDER}')")),
        (names_no_folder_of_a_machine, set_source(2, r"open('C:\photos')")),
        (
            names_no_folder_of_a_machine,
            lambda notebook: notebook.metadata.update(papermill={"input": FOLDER}),
        ),
        (
            keeps_the_state_of_its_widgets,
            lambda notebook: notebook.metadata.update(widgets={"application/x": {}}),
        ),
        (compares_every_cell_or_says_why, set_tags(2, "nbval-ignore-output")),
        (compares_every_cell_or_says_why, set_source(2, "# NBVAL_IGNORE_OUTPUT\nprint(size, rates)")),
        (compares_every_cell_or_says_why, set_source(2, "# not compared: times differ\nprint(size, rates)")),
        (compares_every_cell_or_says_why, set_tags(2, "nbval-skip")),
        (compares_every_cell_or_says_why, set_source(2, "# NBVAL_SKIP\nprint(size, rates)")),
        (has_one_parameters_cell, set_tags(0)),
        (has_one_parameters_cell, set_tags(1, "parameters")),
        (has_one_parameters_cell, set_parameter("# Parameters", "# Settings")),
        (has_one_parameters_cell, set_parameter("size = 4", "size = 2 * 2")),
        (has_one_parameters_cell, set_parameter("size = 4", "size = 400")),
        (has_one_parameters_cell, set_parameter('"quick"', '"cpu"')),
        (has_one_parameters_cell, set_parameter("seed", "start")),
        (explains_every_parameter, set_parameter("# how fast", "")),
        (reads_every_parameter, set_source(2, "mae = size\nrates = 3")),
        (begins_and_ends_a_run, set_source(3, "print(mae)")),
        (begins_and_ends_a_run, set_source(1, "run = None")),
        (has_short_functions, set_source(2, LONG)),
        (has_little_code, set_source(2, "mae = size\n" * MOST_CODE)),
        (leaves_its_environment_alone, set_source(2, "import sys\nsys.path.append('..')")),
        (leaves_its_environment_alone, set_source(2, "!pip install torch")),
        (leaves_its_environment_alone, set_source(2, "%pip install torch")),
        (notes_its_network, set_source(2, "network = load_network()")),
        (describes_its_pictures, set_output(2, "display_data", data={"image/png": "", "text/plain": "A line."})),
        (describes_its_pictures, set_output(2, "display_data", data={"image/jpeg": "", "text/plain": "A line."})),
        (describes_its_pictures, set_output(2, "display_data", data={"text/html": "<img src='x'/>"})),
        (describes_its_pictures, set_output(2, "display_data", data={"text/html": '<img alt="" src="x"/>'})),
        (
            describes_its_pictures,
            set_output(2, "display_data", data={"image/png": ""}, metadata={"image/png": {"alt": "A line."}}),
        ),
        (carries_its_stamp, lambda notebook: None),
    ],
)
def test_check_fails(check, spoil):
    notebook = minimal_notebook()
    spoil(notebook)
    assert len(check(notebook)) >= 1


def test_a_figure_of_two_notebooks_is_found():
    wrote = [minimal_notebook(), minimal_notebook()]
    for notebook, names in zip(wrote, (["a", "b"], ["b"])):
        figures = ", ".join(f"outputs/quick/figures/{name}.png" for name in names)
        set_output(3, "stream", name="stdout", text=f"00-tiny wrote {figures}\n")(notebook)
    assert shared_figures(wrote) == ["b"]


def test_every_check_is_shown_to_fail():
    (mark,) = [mark for mark in test_check_fails.pytestmark if mark.name == "parametrize"]
    assert {check for check, _ in mark.args[1]} == {*OF_COMMITTED, *OF_EXECUTED}


def test_a_parameter_that_only_the_trainer_reads_is_read():
    notebook = nbformat.read(ROOT / "notebooks/08_ablations.ipynb", as_version=4)
    assert "heads" not in "".join(cell.source for cell in code_cells(notebook)[2:])
    assert "heads" in read_by_trainer(notebook)
    parameters_cell(notebook).source += "\nidle = 1  # read by nothing"
    assert reads_every_parameter(notebook) == ["no cell reads parameter idle"]


def test_a_function_of_one_screen_passes():
    notebook = minimal_notebook(body=LONG.replace("    pass\n", "", 1))
    assert has_short_functions(notebook) == []


def test_comments_and_blank_lines_are_no_code():
    notebook = minimal_notebook()
    rest = sum(len(cell.source.splitlines()) for cell in notebook.cells[:2] + notebook.cells[3:])
    notebook.cells[2].source = "# why\n\n    # and how\n" * MOST_CODE + "mae = size\n" * (MOST_CODE - rest)
    assert has_little_code(notebook) == []


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("00-tiny.yaml", "size: 8\nrates: [1, 0.5]", None),
        ("00-tiny.yaml", "# the defaults will do\n", None),
        ("00-tiny.yaml", "sise: 8", 'Did you mean "size"'),
        ("00-tiny.yaml", "size: 8.5", "must be an integer"),
        ("00-tiny.yaml", "size: 800", "must be 1 to 100"),
        ("00-tiny.yaml", "rates: [1e-8]", "write 1.0e-8"),
        ("00-tiny.yaml", "profile: paper", "remove that line"),
        ("00-tiny.yaml", "- size", "must hold lines"),
        ("00-tiny.yaml", "size: [", "not valid YAML"),
        ("00-tiny.yaml", f"size: 8 # {FOLDER}", "absolute path"),
        ("00-tny.yaml", "size: 8", "belongs to no notebook"),
        ("00-tiny.yml", "size: 8", "belongs to no notebook"),
    ],
)
def test_profile_check(tmp_path, name, content, problem):
    write_notebook(tmp_path / "notebooks/00-tiny.ipynb")
    path = tmp_path / "params/cpu" / name
    path.parent.mkdir(parents=True)
    path.write_text(content)
    problems = profile_problems(path, tmp_path / "notebooks")
    assert [problem] * (problem is not None) == [problem for each in problems if problem in each]
    assert len(problems) == (problem is not None)


@pytest.mark.slow
def test_a_misspelt_parameter_on_the_command_line_stops_the_run(tmp_path, outputs):
    notebook = write_notebook(tmp_path / "00-tiny.ipynb")
    command = [
        sys.executable,
        "-m",
        "papermill",
        notebook.name,
        "out.ipynb",
        "-p",
        "sise",
        "8",
        "-k",
        "python3",
    ]
    done = subprocess.run(
        [*command, "--execution-timeout", "100", "--no-progress-bar"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode != 0
    sentence = '"sise" is no parameter of 00-tiny. Did you mean "size"? Valid names: profile, seed, size, rates.'
    assert sentence in done.stderr
    assert not outputs.exists()
