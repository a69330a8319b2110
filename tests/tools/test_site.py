"""The site has every page, the index of the paper is complete, and the check of built pages finds what is wrong."""

import base64
import importlib
import json
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from PIL import Image

from defusion_lib.paper import claims
from defusion_lib.paper.tables import FIGURES
from tools.site import check, detector, ledger, pages, paper_index

ROOT = Path(__file__).resolve().parents[2]
PLACES = paper_index.read_places()
FOLDERS = ("notebooks", "params", "defusion_lib", "tools")


# ----------------------------------------------------------------------------------------------------- pages


def test_every_page_of_the_checkout_is_on_the_site():
    # Below outputs/ a run may have written pages of its own.
    found = [
        *ROOT.glob("*.md"),
        *(ROOT / "outputs").glob("*.md"),
        *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md")),
    ]
    listed = pages.sources(ROOT)
    assert sorted(path.relative_to(ROOT).as_posix() for path in found) == sorted(p for p in listed if p.endswith(".md"))
    assert len(set(listed)) == len(listed)


def test_every_notebook_is_on_the_site_in_order():
    expected = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert [Path(page).name for page in pages.chapters(ROOT)[pages.NOTEBOOKS]] == expected
    assert expected[0].startswith("00")


def test_executed_copies_are_on_the_site_but_no_unfinished_ones(tmp_path):
    for name in ("cpu/04_evaluation", "box/04_evaluation", "cpu/05.running", "cpu/05.failed", "cpu-pilot/03_training"):
        (tmp_path / "outputs" / f"{name}.ipynb").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "outputs" / f"{name}.ipynb").touch()
    assert pages.copies(tmp_path) == ["outputs/box/04_evaluation.ipynb", "outputs/cpu/04_evaluation.ipynb"]
    assert {Path(page).parent.name for page in pages.copies(ROOT)} <= set(pages.COPIES)


def test_copies_that_pages_link_are_on_the_site():
    """Sphinx fails on a linked notebook that is in no table of contents."""
    listed = pages.sources(ROOT)
    linked = {target for page in listed for text in pages.texts(ROOT, page) for target in pages.targets(page, text)}
    assert {target for target in linked if target.endswith(".ipynb")} <= set(listed)


def test_every_link_of_a_page_leads_somewhere():
    assert pages.broken(ROOT) == []


def test_a_broken_link_is_found(tmp_path):
    for page in pages.sources(tmp_path):
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text(
            "# Page\n\n```sh\n[code](no.md)\n```\n[web](https://example.org/no.md) [here](#page)\n"
        )
    (tmp_path / "params/README.md").write_text(
        "![picture](no.png) and [card](../defusion_lib/shipped/README.md#numbers)"
    )
    assert pages.broken(tmp_path) == ["params/README.md links to params/no.png, which does not exist."]


def test_the_front_page_moves_and_links_to_it_follow():
    text = "See [the front page](../README.md#teach), [here](README.md)\n```\n[code](../README.md)\n```\n"
    expected = text.replace("page](../README.md", "page](../index.md")
    assert pages.moved("notebooks/README.md", text) == expected


def test_a_notebook_loses_its_progress_bars_and_links_to_its_runs():
    kept = {"output_type": "display_data", "data": {"image/png": ""}}
    bar = {"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {}}}
    cells = [
        {"cell_type": "markdown", "source": ["# 04 · Title\n", "\n", "Words.\n"]},
        {"cell_type": "code", "source": "", "outputs": [bar, kept]},
    ]
    runs = ["notebooks/04.ipynb", "outputs/cpu/04.ipynb", "outputs/cpu/05.ipynb"]
    cleaned = pages.clean({"metadata": {"widgets": {}}, "cells": cells}, runs[1], runs)
    assert cleaned["metadata"] == {} and cleaned["cells"][1]["outputs"] == [kept]
    assert cleaned["cells"][0]["source"] == (
        "# 04 · Title (real photos, profile cpu)\n\n"
        "Outputs on: [embedded data](../../notebooks/04.ipynb) · **real photos, profile cpu**\n\nWords.\n"
    )


def test_linked_files_are_copied_beside_the_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "sources", lambda root: ["README.md", pages.RESULTS])
    root, folder = tmp_path / "root", tmp_path / "pages"
    (root / "outputs/cpu").mkdir(parents=True)
    (root / "README.md").write_text("# Front\n\n![map](outputs/cpu/map.png) [results](outputs/README.md)\n")
    (root / "outputs/README.md").write_text("# Results\n\n[numbers](cpu/bench.json)\n")
    for name in ("map.png", "bench.json", "secret.json"):
        (root / "outputs/cpu" / name).write_text(name)
    pages.stage(root, folder)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert names == ["index.md", "outputs/README.md", "outputs/cpu/bench.json", "outputs/cpu/map.png"]
    front = (folder / "index.md").read_text()
    assert front.count("```{toctree}") == len(pages.chapters(root)) and f"# Front\n\n{pages.OFFER}\n" in front


# ---------------------------------------------------------------------------------------- index of the paper


def test_every_figure_table_and_equation_has_a_place():
    assert list(PLACES) == [f"{kind}-{number}" for kind, numbers in paper_index.NUMBERS.items() for number in numbers]
    assert {f"figure-{number}" for number in FIGURES} <= set(PLACES)
    assert {group for group in claims.GROUPS if group.startswith("table-")} <= set(PLACES)


@pytest.mark.parametrize("item", PLACES)
def test_its_places_exist(item):
    """The notebook names a figure or table in its line "In the paper", the cell states an equation."""
    entry = PLACES[item]
    assert set(entry) <= {"title", "cells", "code"} and entry["cells"]
    for where in entry["cells"]:
        stem, cell = where.split("/")
        cells = paper_index.cells_of(ROOT, f"notebooks/{stem}.ipynb")
        assert paper_index.heading(cells, cell, item)
        if item.startswith("equation"):
            (text,) = [each["source"] for each in cells if each["id"] == cell]
            stated = {f"equation-{number}" for number in re.findall(r"\\q?quad \((\d+)\)", text)}
            assert item in stated | paper_index.named(text)
        else:
            assert item in paper_index.said(ROOT)[stem]
    if "code" in entry:
        module, _, names = entry["code"].partition(".")
        found = importlib.import_module(f"defusion_lib.{module}")
        for name in names.split("."):
            found = getattr(found, name)


def test_what_notebooks_name_is_in_the_paper():
    found = set().union(*paper_index.said(ROOT).values())
    assert found <= set(PLACES)
    assert {item for item in PLACES if not item.startswith("equation")} <= found


def test_a_figure_is_where_its_claim_says():
    for record in claims.load():
        for item in PLACES:
            if any(fnmatchcase(item, pattern) for pattern in record.claims):
                assert record.notebook in {where.split("/")[0] for where in PLACES[item]["cells"]}, item


def test_words_that_name_items():
    assert paper_index.named("Section 4.2, Eq. 9-10, Figures 1 and 8-9, Table 2.") == {
        *("equation-9", "equation-10", "figure-1", "figure-8", "figure-9", "table-2"),
    }
    assert paper_index.named("Tables 1, 2, and 3; 10 figures") == {"table-1", "table-2", "table-3"}


def test_a_heading_is_the_one_that_names_the_item():
    cells = [
        {"id": "a", "cell_type": "markdown", "source": "## Before\n```\n# code\n```"},
        {"id": "b", "cell_type": "markdown", "source": "## Steps\n\n## A map, `x` (Figure 4)\n"},
        {"id": "c", "cell_type": "code", "source": "# comment"},
    ]
    assert [paper_index.heading(cells, "b", item) for item in ("figure-4", "figure-5")] == [
        "A map, `x` (Figure 4)",
        "Steps",
    ]
    assert paper_index.heading(cells, "c", "figure-4") == "A map, `x` (Figure 4)"
    assert paper_index.anchor("A map, `x` (Figure 4)") == "a-map-x-figure-4"
    with pytest.raises(KeyError):
        paper_index.heading(cells, "d", "figure-4")


@pytest.mark.slow
def test_the_page_has_a_line_with_a_link_for_each(tmp_path):
    paper_index.write(ROOT, tmp_path)
    text = (tmp_path / paper_index.PAGE).read_text()
    parts = re.split(r"^(?:### |\| )(?=(?:Figure|Table|Eq\.) \d)", text, flags=re.MULTILINE)[1:]
    assert len(parts) == len(PLACES) == 30
    for item, part in zip(PLACES, parts):
        kind, number = item.split("-")
        assert re.match(rf"{paper_index.NAMES[kind]} {number}\b", part)
        assert "](../notebooks/" in part
        missing = kind == "figure" and "**needs data.**" in part
        assert ("*No picture." in part) == missing and not (missing and "![" in part)
        assert ("![" in part) != ("*No picture." in part) or kind != "figure"
    for name in re.findall(r"!\[.*?\]\((.*?)\)", text):
        picture = (tmp_path / paper_index.PAGE).with_name(name)
        assert picture.stat().st_size < 150_000
        if picture.suffix != ".svg":
            with Image.open(picture) as opened:
                assert all(side <= most for side, most in zip(opened.size, paper_index.SMALL))


def shown(caption, content=b"a"):
    """An output of a cell: a picture."""
    return {"data": {"image/png": base64.b64encode(content).decode()}, "metadata": {"image/png": {"alt": caption}}}


def test_a_picture_is_the_one_whose_caption_names_the_item(tmp_path):
    def save(page, *outputs):
        cells = [
            {"id": "a", "cell_type": "markdown", "source": "## Figures 13 and 15\n"},
            {"id": "b", "cell_type": "code", "source": "", "outputs": list(outputs)},
            {"id": "c", "cell_type": "markdown", "source": "## Next\n"},
            {"id": "d", "cell_type": "code", "source": "", "outputs": [shown("Figure 15.", b"next")]},
        ]
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / page).write_text(json.dumps({"cells": cells}))

    def found(item):
        paper_index.cells_of.cache_clear()
        return paper_index.picture(tmp_path, "08/a", item)

    stored, copy = "notebooks/08.ipynb", "outputs/cpu/08.ipynb"
    save(stored, shown("Figure 13.", b"x"), shown("Figure 15.", b"y"))
    assert found("figure-15") == (stored, b"y", "png", "Figure 15.") and found("figure-14") is None
    save(copy, shown("Parts.", b"z"), shown("Steps.", b"w"))  # an older copy, whose captions name nothing
    assert found("figure-15").page == stored
    save(copy, shown("Steps so far.", b"z"), shown("Steps.", b"z"))  # one picture, drawn twice
    assert found("figure-15") == (copy, b"z", "png", "Steps.")
    drawn = f'<img alt="a &lt; b" src="data:image/svg+xml;base64,{base64.b64encode(b"<svg/>").decode()}">'
    save(copy, {"data": {"text/html": [drawn]}})
    assert found("figure-15") == (copy, b"<svg/>", "svg", "a < b")


def test_a_status_is_that_of_the_claims():
    assert paper_index.status("figure-7").startswith("**needs data.**")
    assert paper_index.status("figure-2") == "drawn from the code"
    counts = [int(count) for count in re.findall(r"(\d+) cells", paper_index.status("table-1"))]
    assert sum(counts) == sum(claims.tally(claims.load())["table-1"].values()) == 108


# ------------------------------------------------------------------------------------- glossary and claims


def test_the_glossary_has_the_words_of_the_paper_and_of_result_files():
    text = (ROOT / "defusion_lib/paper/glossary.md").read_text()
    terms = {word.strip() for term in re.findall(r"^### (.*)$", text, re.MULTILINE) for word in term.split(",")}
    assert {"FSHF", "FSEF", "CAM", "FAM", "FFRM", "GAP", "GMP", "tap", "floor", "all-blurred"} <= terms
    assert {"dutlab100", "last100", "protocol", "max F", "AUC on the paper's axis", "MAE", "profile"} <= terms
    for chapter in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        found = re.findall(r"^### (.*)$", chapter, re.MULTILINE)
        assert found == sorted(found, key=str.lower)


def test_the_table_of_claims_has_a_row_for_each(tmp_path, monkeypatch):
    monkeypatch.setattr(
        claims, "load_results", lambda: {("cpu-last100", "07b_other_photos", "shi-last100/jnb/mae"): 0.17777}
    )
    ledger.write(ROOT, tmp_path)
    text = (tmp_path / ledger.PAGE).read_text()
    rows = re.findall(r'<tr data-status="(.*?)">(.*?)</tr>', text)
    assert len(rows) == len(claims.claims()) == 307
    assert {status for status, _ in rows} <= set(claims.STATUSES)
    assert all(row.count("<td") == len(ledger.COLUMNS) for _, row in rows)
    (jnb,) = [row for _, row in rows if "MAE of JNB on Shi<" in row]
    assert ">0.355<" in jnb and ">0.1778<" in jnb and 'href="../notebooks/07b_other_photos.html"' in jnb


def test_claims_are_shown_in_the_words_of_the_paper():
    assert ledger.words("table-3/dut/f/defusionnet+step2") == "F-measure of Step_2 on DUT"
    assert ledger.words("table-2/shi/auc/defusionnet+nocam") == "AUC of wFAMwoCAM on Shi"
    assert ledger.words("table-2/ctcug/mae/defusionnet+noffrm") == "MAE of woFFRM on CTCUG"
    assert ledger.words("count/shi-train") == "“604 for training” (Section 3.5)"
    assert not [claim for claim in claims.claims() if "+" in ledger.words(claim)]
    assert set(ledger.MEANING) == set(claims.STATUSES)
    assert [ledger.number(value) for value in (None, 0.1, 1e-8, 10000, 0.0, 9664.0)] == [
        "",
        "0.1",
        "1e-08",
        "10000",
        "0",
        "9664",
    ]


# --------------------------------------------------------------------------------------------- detector


def test_the_runtime_of_the_detector_is_pinned_and_its_lock_names_no_host():
    package, lock = (json.loads((detector.NPM / name).read_text()) for name in ("package.json", "package-lock.json"))
    (version,) = package["dependencies"].values()
    assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages["node_modules/onnxruntime-web"]["version"] == version
    assert all(each["integrity"].startswith("sha512-") for each in packages.values())
    assert "resolved" not in str(lock) and "://" not in str(lock)


def test_the_page_of_the_detector_and_its_program_state_the_same_sizes():
    program = (ROOT / "tools/site/static/detector_worker.js").read_text(encoding="utf-8")
    stated = {name: int(value) for name, value in re.findall(r"^const (\w+) = (\d+);", program, re.MULTILINE)}
    assert {name: stated[name] for name in ("SHOWN", "PATTERN", "STEP")} == {
        "SHOWN": detector.SHOWN,
        "PATTERN": detector.PATTERN,
        "STEP": detector.STEP,
    }


def npm(folder, monkeypatch, program):
    """Put a program called npm in the place of all others."""
    (folder / "bin").mkdir()
    (folder / "bin/npm").write_text(f"#!/bin/sh\n{program}\n")
    (folder / "bin/npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder / "bin"))


def test_what_npm_fetched_is_kept_until_the_lock_changes(tmp_path, monkeypatch):
    shell = "/bin/mkdir -p node_modules/onnxruntime-web/dist; echo x >> calls"
    npm(tmp_path, monkeypatch, shell)
    for _ in range(2):
        assert detector.fetch_runtime(tmp_path / "npm").is_dir()
    assert (tmp_path / "npm/calls").read_text() == "x\n"
    (tmp_path / "npm/package-lock.json").write_text("{}")
    detector.fetch_runtime(tmp_path / "npm")
    assert (tmp_path / "npm/calls").read_text() == "x\nx\n"


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (None, "npm was not found when it was built. Install Node.js, which has it."),
        (
            "echo npm error code ENOTFOUND >&2; exit 1",
            "npm could not fetch onnxruntime-web when it was built (npm error code ENOTFOUND). Check the connection.",
        ),
    ],
    ids=["missing", "failing"],
)
def test_without_npm_the_page_says_what_is_missing(tmp_path, monkeypatch, program, why):
    if program:
        npm(tmp_path, monkeypatch, program)
    else:
        monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(detector, "read", lambda path: json.loads((ROOT / path.relative_to(tmp_path)).read_text()))
    for _ in range(2):  # nothing is left that a second build would take for the runtime
        assert detector.write(tmp_path, tmp_path, tmp_path / "files") == why
    text = (tmp_path / detector.PAGE).read_text()
    assert f"*The detector is missing in this copy of the site: {why} Then run `make site` again.*" in text
    assert "<script" not in text and "{" not in text.partition("---\n\n")[2]
    assert not (tmp_path / "files").exists()


# ------------------------------------------------------------------------------------------ built pages


def built(folder, **files):
    folder /= "site"
    folder.mkdir()
    for name in ("README.md", "i.png"):  # beside the site
        (folder.parent / name).touch()
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return check.problems(folder, limit=1000)


def test_a_good_page_has_no_problems(tmp_path):
    text = '<a href="b.html#x">b</a> <a href="#top" id="top">a</a> <a href="https://example.org">out</a> <img src="data:,">'
    good = '<h2 id="x">b</h2><link rel="canonical" href="https://example.org/b">'
    assert built(tmp_path, a__html=text, b__html=good) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<a href="c.html">c</a>', "a.html links to c.html, which does not exist on the site."),
        ('<a href="../README.md">out</a>', "a.html links to ../README.md, which does not exist on the site."),
        ('<img src="../i.png">', "a.html loads i.png, which does not exist on the site."),
        ('<a href="b.html#y">b</a>', "a.html links to b.html#y, but that page has no such anchor."),
        ('<script src="https://cdn.example/x.js"></script>', "a.html loads https://cdn.example/x.js from a network."),
        ('<script src="//cdn.example/x.js"></script>', "a.html loads //cdn.example/x.js from a network."),
        (
            '<link rel="stylesheet" href="http://e.example/x.css">',
            "a.html loads http://e.example/x.css from a network.",
        ),
        ('<img srcset="s.css 1x, http://e.example/i.png 2x">', "a.html loads http://e.example/i.png from a network."),
        ("<style>@import 'http://e.example/x.css';</style>", "a.html loads http://e.example/x.css from a network."),
        ('<p style="background: url(http://e.example/i.png)">', "a.html loads http://e.example/i.png from a network."),
        ('<link rel="stylesheet" href="s.css">', "a.html loads http://e.example/f.woff from a network."),
        ('<img src="no.png">', "a.html loads no.png, which does not exist on the site."),
        ('<img src="large.png">', "a.html has 0.0 MB with what it loads, more than 0.001."),
    ],
)
def test_a_problem_of_a_page_is_found(tmp_path, text, problem):
    sheet = "@font-face {src: url(http://e.example/f.woff)}" if "stylesheet" in text and "s.css" in text else ""
    files = {"b__html": '<h2 id="x">b</h2>', "s__css": sheet, "large__png": "x" * 1000}
    assert built(tmp_path, a__html=text, **files) == [problem]


def test_the_pages_of_the_site_load_nothing_by_settings():
    """The scripts of widgets and of MathJax would come from a network."""
    settings = (ROOT / "tools/site/conf.py").read_text()
    assert "nb_ipywidgets_js = {}" in settings and 'html_math_renderer = "mathml"' in settings
    assert 'nb_execution_mode = "off"' in settings
    for script in ("ledger.js", "detector.js", "detector_worker.js"):
        text = (ROOT / "tools/site/static" / script).read_text()
        assert not re.search(r"""https?:|["'`]//|sendBeacon|XMLHttpRequest|WebSocket""", text), script
        # What the detector asks for lies beside it.
        called = re.findall(r"(?:fetch|import)\((.*)", text)
        assert all(re.match(r"address\)|new URL\(.*, FOLDER\)[,)]", argument) for argument in called), called


def test_notebooks_show_nothing_from_a_network():
    for page in pages.sources(ROOT):
        if page.endswith(".ipynb"):
            for cell in json.loads((ROOT / page).read_text())["cells"]:
                for output in cell.get("outputs", []):
                    html = "".join(output.get("data", {}).get("text/html", ""))
                    assert not re.search(r"""(?:src=|url\(|<link[^>]*href=)["']?https?:""", html), page
