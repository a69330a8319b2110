"""Which pages the site has, and how they are copied to the folder that Sphinx reads.

A page keeps its path in the checkout; README.md becomes index.md. Links between pages stay links, and a linked file
that is no page is copied beside them.
"""

import json
import posixpath
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from tools.execute import LINK

FRONT = "index.md"
# Profiles whose executed notebooks are pages; the last one shows most.
COPIES = {
    "cpu-szu": "photos of another data set, profile cpu-szu",
    "cpu-last100": "the photos of the paper's text, profile cpu-last100",
    "cpu": "real photos, profile cpu",
    "box": "real photos, profile box",
}
EMBEDDED = "embedded data"
GENERATED = ("paper/index.md", "paper/claims.md", "demo.md")
OFFER = f"**[Try it on a photo]({GENERATED[2]})** here in the browser, with nothing to install."
NOTEBOOKS, RESULTS, FINDINGS = "Notebooks", "outputs/README.md", "outputs/FINDINGS.md"
GLOSSARY = "defusion_lib/paper/glossary.md"
CHAPTERS = {
    "Start": [GENERATED[2], "notebooks/README.md", "notebooks/CLASS.md", FINDINGS, RESULTS, GLOSSARY],
    "The paper": [*GENERATED[:2], "defusion_lib/paper/open_choices.md"],
    NOTEBOOKS: [],
    "The library": [
        "defusion_lib/API.md",
        "defusion_lib/shipped/README.md",
        "params/README.md",
        "tools/slurm/README.md",
        "outputs/COSTS.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ],
}
FENCED = re.compile(r"^( *)```.*?^\1``` *$", re.DOTALL | re.MULTILINE)
TITLE = re.compile(r"\A# (.*)\n")


def chapters(root: Path) -> dict[str, list[str]]:
    """Return the pages of each chapter in order, paths in the checkout, without the front page."""
    stored = sorted(path.name for path in (root / "notebooks").glob("*.ipynb"))
    return CHAPTERS | {NOTEBOOKS: [f"notebooks/{name}" for name in stored]}


def copies(root: Path) -> list[str]:
    """Return the executed notebooks that are pages, by number; they are listed below the page of results."""
    found = [path for profile in COPIES for path in (root / "outputs" / profile).glob("*.ipynb")]
    whole = [path for path in found if not path.stem.endswith((".running", ".failed"))]
    return [path.relative_to(root).as_posix() for path in sorted(whole, key=lambda path: (path.name, path.parent.name))]


def sources(root: Path) -> list[str]:
    """Return all pages that are files of the checkout, the front page first."""
    listed = [page for pages in chapters(root).values() for page in pages]
    return ["README.md", *(page for page in listed if page not in GENERATED), *copies(root)]


def place(page: str) -> str:
    """Return the path of a page in the folder that Sphinx reads."""
    return FRONT if page == "README.md" else page


def relative(page: str, target: str) -> str:
    """Return the link from one path to another."""
    return posixpath.relpath(place(target), posixpath.dirname(place(page)) or ".")


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Apply a change to what is outside of the fenced code of a Markdown text."""
    parts, end = [], 0
    for block in FENCED.finditer(text):
        parts += [change(text[end : block.start()]), block.group()]
        end = block.end()
    return "".join([*parts, change(text[end:])])


def targets(page: str, text: str) -> list[str]:
    """Return the paths in the checkout that a page's text links to."""
    found: list[str] = []
    outside_code(text, lambda part: found.extend(LINK.findall(part)) or part)
    return [posixpath.normpath(posixpath.join(posixpath.dirname(page), link)) for link in found]


def texts(root: Path, page: str) -> list[str]:
    """Return the Markdown texts of a page: a file's, or those of a notebook's cells."""
    if page.endswith(".md"):
        return [(root / page).read_text(encoding="utf-8")]
    cells = json.loads((root / page).read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


def broken(root: Path) -> list[str]:
    """Return the links of all pages that lead to nothing, one sentence each."""
    return [
        f"{page} links to {target}, which does not exist."
        for page in sources(root)
        for text in texts(root, page)
        for target in targets(page, text)
        if not (root / target).exists()
    ]


def stage(root: Path, folder: Path) -> None:
    """Copy all pages, and the files that they link to, to a new folder; the generated pages are not written."""
    shutil.rmtree(folder, ignore_errors=True)
    pages = sources(root)
    for page in pages:
        for text in texts(root, page):
            for target in targets(page, text):
                if target not in pages and (root / target).is_file():
                    (folder / target).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(root / target, folder / target)
        goal = folder / place(page)
        goal.parent.mkdir(parents=True, exist_ok=True)
        if page.endswith(".ipynb"):
            notebook = json.loads((root / page).read_text(encoding="utf-8"))
            goal.write_text(json.dumps(clean(notebook, page, pages)), encoding="utf-8")
        else:
            text = moved(page, (root / page).read_text(encoding="utf-8"))
            if page == "README.md":
                text = TITLE.sub(lambda found: f"{found.group()}\n{OFFER}\n", text, count=1)
                text += "".join(contents(page, names, caption) for caption, names in chapters(root).items())
            elif page == RESULTS:
                text += contents(page, copies(root))
            goal.write_text(text, encoding="utf-8")


def moved(page: str, text: str) -> str:
    """Return a text with its links to README.md changed to the front page."""

    def link(found: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(page), found.group()))
        return relative(page, target) if target == "README.md" else found.group()

    return outside_code(text, lambda part: LINK.sub(link, part))


def contents(page: str, pages: list[str], caption: str = "") -> str:
    """Return a table of contents that a page adds to the side of the site."""
    entries = "\n".join(re.sub(r"\.(md|ipynb)$", "", relative(page, each)) for each in pages)
    return f"\n```{{toctree}}\n:hidden:\n{caption and f':caption: {caption}'}\n\n{entries}\n```\n"


def clean(notebook: dict, page: str, pages: list[str]) -> dict:
    """Return a notebook without progress bars, which need a kernel, and with links to its other runs.

    The title of an executed copy says the profile.
    """
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = moved(page, "".join(cell["source"]))
        else:
            cell["outputs"] = [output for output in cell["outputs"] if not _is_widget(output)]
    first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    note = " · ".join(_runs(page, pages))
    where = COPIES.get(Path(page).parent.name)
    first["source"] = TITLE.sub(
        lambda found: f"# {found[1]}{f' ({where})' if where else ''}\n\n{note}\n", first["source"], count=1
    )
    return notebook


def _is_widget(output: dict) -> bool:
    return "application/vnd.jupyter.widget-view+json" in output.get("data", {})


def _runs(page: str, pages: list[str]) -> list[str]:
    """Return links to the stored notebook and its executed copies, the shown one without a link."""
    name = Path(page).name
    runs = {f"notebooks/{name}": EMBEDDED}
    runs |= {f"outputs/{profile}/{name}": words for profile, words in COPIES.items()}
    shown = [
        f"**{words}**" if run == page else f"[{words}]({relative(page, run)})"
        for run, words in runs.items()
        if run in pages
    ]
    return ["Outputs on: " + shown[0], *shown[1:]] if shown else []
