"""The index from every figure, table and equation of the paper to the collection, as a page."""

import base64
import io
import json
import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from typing import NamedTuple

import yaml
from PIL import Image

from defusion_lib.paper import claims
from defusion_lib.paper.tables import FIGURES
from defusion_lib.runs.pictures import COLOURS
from tools.site.pages import COPIES, EMBEDDED, GENERATED, relative

PLACES = Path(__file__).with_name("places.yaml")
NUMBERS = {"figure": range(1, 16), "table": range(1, 4), "equation": range(1, 13)}
HEADINGS = {"figure": "Figures", "table": "Tables", "equation": "Equations"}
NAMES = {"figure": "Figure", "table": "Table", "equation": "Eq."}
SAID = re.compile(r"(Figure|Table|Eq\.|Equation)s? ((?:\d+(?:-\d+)?(?:, and |, | and )?)+)")
DRAWN = re.compile(r'<img alt="([^"]*)" src="data:image/svg\+xml;base64,([^"]*)"')
SMALL = 720, 480  # pixels, at most
PAGE = GENERATED[0]
INTRODUCTION = """# The paper, item by item

For readers with the paper open: where the collection has each of its figures, tables and equations, and what is known
about it. The [ledger](claims.md) explains the statuses and lists every single number;
[what the paper leaves open](../defusion_lib/paper/open_choices.md) names our choices. Pictures are those of our
networks, on real photos where such a run is stored.
"""


def read_places() -> dict[str, dict]:
    """Read places.yaml: {"figure-1": {"cells": [...], ...}}."""
    return yaml.safe_load(PLACES.read_text(encoding="utf-8"))


@cache
def cells_of(root: Path, page: str) -> list[dict]:
    """Return the cells of a notebook, their sources as one text."""
    cells = json.loads((root / page).read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def named(line: str) -> set[str]:
    """Return the items that words name: "Eq. 9-10, Figure 12" is equation-9, equation-10 and figure-12."""
    found = set()
    for kind, numbers in SAID.findall(line):
        kind = "equation" if kind.startswith("Eq") else kind.lower()
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", numbers):
            found |= {f"{kind}-{number}" for number in range(int(first), int(last or first) + 1)}
    return found


@cache
def said(root: Path) -> dict[str, set[str]]:
    """Return the items that each notebook names in its line "In the paper", {notebook: items}."""
    found = {}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        text = cells_of(root, f"notebooks/{path.name}")[0]["source"]
        line = re.search(r"\*\*In the paper:\*\*(.*?)(?=\n- |\n\n|\Z)", text, re.DOTALL)
        found[path.stem] = named(line[1]) if line else set()
    return found


def heading(cells: list[dict], cell: str, item: str) -> str:
    """Return the heading that a cell belongs to, the one that names the item where a cell has several.

    Raises KeyError for a cell that does not exist.
    """
    (at,) = [i for i, each in enumerate(cells) if each.get("id") == cell] or [None]
    if at is None:
        raise KeyError(cell)
    own = _headings(cells[at])
    before = [title for each in cells[:at] for title in _headings(each)]
    return next((title for title in own if item in named(title)), (own or before[::-1])[0])


def _headings(cell: dict) -> list[str]:
    text = re.sub(r"```.*?```", "", cell["source"], flags=re.DOTALL)
    return re.findall(r"^#+ (.*)$", text, re.MULTILINE) if cell["cell_type"] == "markdown" else []


def anchor(title: str) -> str:
    """Return the anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def links(root: Path, places: dict, item: str) -> Iterator[str]:
    """Yield Markdown links to the sections that have an item, each with its copies on real photos."""
    for where in places[item]["cells"]:
        stem, cell = where.split("/")
        found = []
        for page in _runs(root, stem)[::-1]:
            cells = cells_of(root, page)
            try:
                title = heading(cells, cell, item)
            except KeyError:  # an older copy
                continue
            words = COPIES.get(Path(page).parent.name) or f"{stem.partition('_')[0]} · {title}"
            found.append(f"[{words}]({relative(PAGE, page)}#{anchor(title)})")
        yield found[0] + (f" (on {', '.join(found[1:])})" if found[1:] else "")


def _runs(root: Path, stem: str) -> list[str]:
    """Return the pages of a notebook, the one on the most data first."""
    pages = [f"notebooks/{stem}.ipynb", *(f"outputs/{profile}/{stem}.ipynb" for profile in COPIES)]
    return [page for page in pages[::-1] if (root / page).is_file()]


class Picture(NamedTuple):
    """A picture of a notebook: the page that it is on, its content, its type (png, jpeg, svg), and its caption."""

    page: str
    content: bytes
    kind: str
    caption: str


def picture(root: Path, place: str, item: str) -> Picture | None:
    """Return the picture of an item after a cell and before the next heading, from the run on the most data.

    It is the one whose caption names the item. Where no caption of a run does, it is the only one there.
    """
    stem, cell = place.split("/")
    for page in _runs(root, stem):
        cells = cells_of(root, page)
        at = next((i for i, each in enumerate(cells) if each.get("id") == cell), len(cells))
        # A training draws its loss twice: while it runs, and the same picture in the end.
        found = {each.content: each for each in _pictures(page, cells[at + 1 :])}.values()
        of_item = [each for each in found if item in named(each.caption)]
        if of_item or len(found) == 1:
            return [*of_item, *found][0]
    return None


def _pictures(page: str, cells: list[dict]) -> Iterator[Picture]:
    """Yield the pictures of cells up to the next heading."""
    for cell in cells:
        if _headings(cell):
            return
        yield from pictures_of(page, cell)


def pictures_of(page: str, cell: dict) -> Iterator[Picture]:
    """Yield the pictures of a cell's outputs."""
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        for kind in ("png", "jpeg"):
            if content := data.get(f"image/{kind}"):
                caption = output.get("metadata", {}).get(f"image/{kind}", {}).get("alt", "")
                yield Picture(page, base64.b64decode("".join(content)), kind, caption)
        for caption, content in DRAWN.findall("".join(data.get("text/html", ""))):
            yield Picture(page, base64.b64decode(content), "svg", unescape(caption))


def small(content: bytes) -> bytes:
    """Shrink a picture to what the page shows of it."""
    with Image.open(io.BytesIO(content)) as opened:
        kind, shrunk = opened.format, opened.convert("RGB")
    shrunk.thumbnail(SMALL)
    if kind == "PNG":  # a plot has few colours
        shrunk = shrunk.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    shown = io.BytesIO()
    shrunk.save(shown, kind, optimize=True)
    return shown.getvalue()


@cache
def _records() -> list[claims.Record]:
    return claims.load()


def status(item: str) -> str:
    """Return what is known about an item: its claim's status, a table's counts, or that the code has it."""
    kind, number = item.split("-")
    records = _records()
    if kind == "table":
        counted = claims.tally(records)[item]
        return ", ".join(f"{count} cells {name}" for name, count in counted.items() if count)
    if kind == "figure" and int(number) in FIGURES:
        record = claims.assigned(records)[item]
        return f"**{record.status}.** {record.why}"
    return "drawn from the code" if kind == "figure" else "in the code"


def write(root: Path, folder: Path) -> None:
    """Write the page and its pictures."""
    places, lines = read_places(), [INTRODUCTION]
    (folder / PAGE).parent.mkdir(parents=True, exist_ok=True)
    for kind in ("figure", "table"):
        lines.append(f"## {HEADINGS[kind]}\n")
        for number in NUMBERS[kind]:
            item = f"{kind}-{number}"
            entry = places[item]
            code = f": `{entry['code']}`" if "code" in entry else ""
            lines.append(f"### {NAMES[kind]} {number}: {entry.get('title') or FIGURES[number]}\n")
            lines += _save(root, folder, item, entry["cells"][0])
            lines.append(f"- {_where(root, places, item)}\n- {status(item)}{code}\n")
    lines += ["## Equations\n", "| | what | in the code | where |", "|---|---|---|---|"]
    for number in NUMBERS["equation"]:
        item = f"equation-{number}"
        entry = places[item]
        lines.append(f"| Eq. {number} | {entry['title']} | `{entry['code']}` | {_where(root, places, item)} |")
    (folder / PAGE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _where(root: Path, places: dict, item: str) -> str:
    """Return links to all places of an item: sections, their copies, and other notebooks that name it."""
    first = {where.split("/")[0] for where in places[item]["cells"]}
    others = [stem for stem, items in said(root).items() if item in items and stem not in first]
    shown = [f"[{stem.partition('_')[0]}]({relative(PAGE, f'notebooks/{stem}.ipynb')})" for stem in others]
    return "; ".join([*links(root, places, item), *([f"also in {', '.join(shown)}"] if shown else [])])


def _save(root: Path, folder: Path, item: str, where: str) -> list[str]:
    """Save the picture of a figure, and return it with origin and caption in Markdown; nothing where there is none.

    A figure of missing photos has a sentence in its place.
    """
    record = claims.assigned(_records()).get(item)
    if record and record.data:
        missing = "; ".join(claims.DATA[name] for name in record.missing_data(item))
        return [f"*No picture. These photos could not be obtained: {missing}.*\n"]
    found = None if item.startswith("table") else picture(root, where, item)
    if found is None:
        return []
    page = found.page
    name = f"{item}.{found.kind}"
    content = found.content if found.kind == "svg" else small(found.content)
    (folder / PAGE).with_name(name).write_bytes(content)
    data = "" if found.kind == "svg" else f", {COPIES.get(Path(page).parent.name, EMBEDDED)}"
    origin = f"notebook {Path(page).stem.partition('_')[0]}{data}"
    title = heading(cells_of(root, page), where.split("/")[1], item)
    target = f"{relative(PAGE, page)}#{anchor(title)}"
    return [f"[![Our {item.replace('-', ' ')}]({name})]({target})\n\n*Ours: {origin}.* {found.caption}\n"]
