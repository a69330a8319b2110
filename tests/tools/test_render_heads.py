"""The heads of the notebooks show the numbers of the result files, and link executed copies that exist."""

import base64
import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from minimal_notebook import minimal_notebook, write_notebook
from nbformat import v4

from tools import render_heads
from tools.render_heads import HEADS, head
from tools.render_results import BEGIN, END

ROOT = Path(__file__).resolve().parents[2]
MEASURED = [notebook for notebook, (_, name, _) in HEADS.items() if name]


def page_of(notebook):
    return f"notebooks/{notebook}.ipynb"


@pytest.fixture
def copied(tmp_path):
    """A checkout with results and without notebooks."""
    shutil.copytree(ROOT / "outputs", tmp_path / "outputs", ignore=shutil.ignore_patterns("*.ipynb", "*.png"))
    return tmp_path


@pytest.mark.slow
def test_heads_are_those_of_the_result_files():
    """If this fails, run `python -m tools.render_heads`."""
    written = render_heads.written(ROOT)
    assert {path.stem for path in written if path.parent.name == "notebooks"} == set(HEADS)
    assert [path.stem for path, text in written.items() if path.read_text(encoding="utf-8") != text] == []


@pytest.mark.parametrize("notebook", HEADS)
def test_a_head_is_two_lines_and_a_figure_with_links_to_what_exists(notebook):
    text = head(ROOT, notebook, page_of(notebook))
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert re.sub(r"\n!\[.*\n", "", text).count("\n") <= 2
    assert bool(links) == (notebook in MEASURED)
    assert all((ROOT / "notebooks" / link).is_file() for link in links)


def test_key_figures_are_those_of_the_executed_copies():
    """If this fails, run `python -m tools.render_heads`, and delete the figures that no head shows."""
    figures = render_heads.figures(ROOT)
    assert len(figures) > 10 and set(figures) == set((ROOT / "outputs/heads").iterdir())
    assert [path.stem for path, png in figures.items() if path.read_bytes() != png] == []


def test_a_key_figure_is_the_last_plot_of_its_section(tmp_path):
    def copy(name, *pictures):
        cells = [v4.new_markdown_cell("# Title\n\n## Before"), drawn("image/png", b"before")]
        cells += [v4.new_markdown_cell("## The section"), *(drawn(kind, png) for kind, png in pictures)]
        cells += [v4.new_markdown_cell("## After"), drawn("image/png", b"after")]
        nbformat.write(v4.new_notebook(cells=cells), tmp_path / name)
        return tmp_path / name

    def drawn(kind, content):
        data = {kind: base64.b64encode(content).decode()}
        return v4.new_code_cell(outputs=[v4.new_output("display_data", data, metadata={kind: {"alt": f"{content}"}})])

    photos, plots = copy("photos", ("image/jpeg", b"photo")), copy("plots", ("image/png", b"1"), ("image/png", b"2"))
    assert render_heads.key_figure(photos, "The section") is None and render_heads.key_figure(None, "") is None
    found = render_heads.key_figure(plots, "The section")
    assert (found.content, found.caption) == (b"2", "b'2'")


@pytest.mark.parametrize("notebook", [notebook for notebook, (_, _, section) in HEADS.items() if section])
def test_the_named_section_of_the_executed_copy_has_a_picture_or_a_table(notebook):
    for link in re.findall(r"\]\(([^)]+ipynb)\)", head(ROOT, notebook, page_of(notebook))):
        section, shown = "", {}
        for cell in nbformat.read(ROOT / "notebooks" / link, 4).cells:
            if cell.cell_type == "markdown":
                section = ([line[3:] for line in cell.source.splitlines() if line.startswith("## ")] or [section])[-1]
                continue
            kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
            shown.setdefault(section, set()).update(kinds)
        assert shown[HEADS[notebook][2]] & {"image/png", "image/jpeg", "text/html"}


@pytest.mark.parametrize("notebook", MEASURED)
def test_changed_numbers_are_noticed(notebook, copied):
    before = head(copied, notebook, page_of(notebook))
    for path in (copied / "outputs").glob("*/results/*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        content["values"] = {key: 0.9 * value for key, value in content.get("values", {}).items()}
        path.write_text(json.dumps(content), encoding="utf-8")
    after = head(copied, notebook, page_of(notebook))
    # Notebook 09's are from the arrays of its figures.
    assert (after == before) == (notebook == "09_channel_attention")


def test_changed_arrays_of_notebook_09_are_noticed(copied, monkeypatch):
    before = head(copied, "09_channel_attention", page_of("09_channel_attention"))
    monkeypatch.setattr(render_heads, "inactive_cams", lambda figures: ["step 1", "step 2"])
    after = head(copied, "09_channel_attention", page_of("09_channel_attention"))
    assert after == before.replace("0 of 6", "2 of 6") != before


def test_the_time_of_notebook_10_is_that_of_what_a_user_gets(copied):
    """`detect` computes in single precision, at whatever size the run compared networks."""
    path = copied / "outputs/cpu/results/10_efficiency.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    side = content["stamp"]["parameters"]["probe_size"] = 96
    key = f"random-{side}x{side}/defusionnet-compact+fp32+stride2"
    content["values"] |= {f"{key}/seconds": 0.123} | {
        f"{key}/{end}-quartile-seconds": 0.1 for end in ("lower", "upper")
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    assert "one image of 96 x 96 pixels takes 0.123 s in single precision" in head(
        copied, "10_efficiency", page_of("10_efficiency")
    )


def test_a_share_is_a_count_with_an_interval_that_is_no_larger_than_all():
    assert render_heads.counted(0.01, 100) == "1 of 100 (95 % interval 0 to 5 %)"
    assert render_heads.counted(1.0, 100) == "100 of 100 (95 % interval 96 to 100 %)"


def test_a_missing_number_stops(copied):
    path = copied / "outputs/box/results/stress_shi.json"
    path.write_text(path.read_text(encoding="utf-8").replace("/auc", "/area"), encoding="utf-8")
    with pytest.raises(KeyError, match="has no shi-dutlab100/defusionnet-compact/auc"):
        head(copied, "04_evaluation", page_of("04_evaluation"))


def test_an_executed_copy_has_links_from_its_own_place(copied):
    notebook = minimal_notebook()
    notebook.cells.insert(0, v4.new_markdown_cell(f"# Title\n\n{BEGIN}old\n{END}\n"))
    for folder in ("notebooks", "outputs/cpu"):
        (copied / folder).mkdir(exist_ok=True)
        nbformat.write(notebook, copied / f"{folder}/01_data.ipynb")
    write_notebook(copied / "outputs/cpu/04_evaluation.ipynb")
    written = render_heads.written(copied)
    texts = {path.parent.name: "".join(json.loads(text)["cells"][0]["source"]) for path, text in written.items()}
    assert set(written) == {copied / "notebooks/01_data.ipynb", copied / "outputs/cpu/01_data.ipynb"}
    assert "](../outputs/cpu/01_data.ipynb)" in texts["notebooks"] and "](01_data.ipynb)" in texts["cpu"]
