"""Check built pages: every link inside the site has a target, nothing is loaded from a network, no page is large.

A page's size is what a browser loads to show it. The detector's network and program (detector.py) are not part of it:
a script loads them once a visitor looks for a photo or drags one over the page, which says how many MB they have.
"""

import posixpath
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

LIMIT = 3_000_000  # bytes of a page with all that it loads
ADDRESS = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")
LOADED = {"src", "srcset", "poster", "data"}
# Links that a browser does not follow on its own.
NOT_LOADED = {"canonical", "next", "prev", "author", "search", "index", "license"}


class Page(HTMLParser):
    """What an HTML page links to, what it loads, and its anchors."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "link" and not NOT_LOADED & set(given.get("rel", "").split()):
            self.loads.append(given.get("href", ""))
        elif tag in ("a", "area", "link") and "href" in given:
            self.links.append(given["href"])
        for name in LOADED & set(given):
            if (tag, name) != ("object", "data") and name == "data":
                continue
            parts = given[name].split(",") if name == "srcset" else [given[name]]
            self.loads += [part.split()[0] for part in parts if part.split()]
        self.loads += _addresses(given.get("style", ""))
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.loads += _addresses(data)
            self._in_style = False


def _addresses(css: str) -> list[str]:
    return [first or second for first, second in ADDRESS.findall(css)]


def _inside(address: str) -> bool:
    parts = urlparse(address)
    return not parts.scheme and not parts.netloc


def problems(folder: Path, limit: int = LIMIT) -> list[str]:
    """Return what is wrong with the pages of a folder, one sentence each."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        shown = path.relative_to(folder).as_posix()
        for link in page.links:
            if _inside(link):
                target, anchor = _target(path, link)
                if not _is_part(target, folder):
                    found.append(f"{shown} links to {link}, which does not exist on the site.")
                elif anchor and target in pages and anchor not in pages[target].anchors:
                    found.append(f"{shown} links to {link}, but that page has no such anchor.")
        files, outside = loaded(path, page)
        found += [f"{shown} loads {address} from a network." for address in outside]
        found += [
            f"{shown} loads {file.name}, which does not exist on the site."
            for file in files
            if not _is_part(file, folder)
        ]
        size = weight(path, files)
        if size > limit:
            found.append(f"{shown} has {size / 1e6:.1f} MB with what it loads, more than {limit / 1e6:g}.")
    return found


def _is_part(file: Path, folder: Path) -> bool:
    return file.is_file() and file.is_relative_to(folder)


def weight(path: Path, files: set[Path]) -> int:
    """Return the bytes of a page and the files that it loads."""
    return sum(file.stat().st_size for file in {path, *files} if file.is_file())


def loaded(path: Path, page: Page) -> tuple[set[Path], list[str]]:
    """Return what a page and its style sheets load: files, and addresses outside of the site."""
    files: set[Path] = set()
    outside, waiting = [], [(path, address) for address in page.loads]
    while waiting:
        at, address = waiting.pop()
        if address.startswith("data:"):
            continue
        if not _inside(address):
            outside.append(address)
            continue
        file, _ = _target(at, address)
        if file not in files and file != at:
            files.add(file)
            if file.suffix == ".css" and file.is_file():
                waiting += [(file, each) for each in _addresses(file.read_text(encoding="utf-8"))]
    return files, outside


def _target(page: Path, link: str) -> tuple[Path, str]:
    """Return the file and the anchor that a link of a page leads to."""
    address, anchor = urldefrag(link)
    way = unquote(urlparse(address).path)
    if not way:
        return page, unquote(anchor)
    return Path(posixpath.normpath(posixpath.join(page.parent.as_posix(), way))), unquote(anchor)
