"""The site in a real browser, as a visitor walks through it: `make test-browser`.

The pages come from a server on loopback, and a request to any other fails the test. Pictures are kept in
build/browser/.
"""

import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from check_explorer import PATIENCE, PICTURES, ROOT, browser, page  # noqa: F401  fixtures
from playwright.sync_api import expect

from defusion_lib.paper import claims

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1350, "height": 1000}


class Quiet(SimpleHTTPRequestHandler):
    """A handler that prints nothing."""

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def patience():
    """Wait as long as the pages of the explorer are waited for."""
    expect.set_options(timeout=1000 * PATIENCE)
    yield
    expect.set_options(timeout=None)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the site, built from this checkout."""
    folder = tmp_path_factory.mktemp("site") / "site"
    done = subprocess.run([sys.executable, "-m", "tools.site", folder], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="session")
def address(site):
    """The address of the served site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def visitor(page, address):  # noqa: F811
    """A page on the front page of the site; it notes what would come from a network."""
    page.outside = []
    page.on("request", lambda request: request.url.startswith((address, "data:")) or page.outside.append(request.url))
    page.set_viewport_size(DESKTOP)
    page.goto(f"{address}index.html")
    yield page
    assert page.outside == [] and page.errors == []


def look(page, name):  # noqa: F811
    """Keep pictures of a page at two widths; nothing may be wider than the window."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for size, words in ((PHONE, "phone"), (DESKTOP, "desktop")):
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], f"{name} is too wide"
        page.screenshot(path=PICTURES / f"site_{name}_{words}.png")


def side(page, name):  # noqa: F811
    """Follow a link of the contents at the side."""
    page.locator(".sidebar-tree").get_by_role("link", name=name, exact=True).click()
    return page.locator("article h1")


def test_a_visitor_finds_detector_notebook_index_glossary_and_search(visitor):
    expect(visitor.locator("article h1")).to_contain_text("DeFusionNet Notebooks")
    look(visitor, "front")

    visitor.locator("article").get_by_role("link", name="Try it on a photo").click()
    expect(visitor.locator("article h1")).to_contain_text("Try it on a photo")

    expect(side(visitor, "02 · The network, part by part")).to_contain_text("02")
    assert visitor.locator("math[display=block]").first.bounding_box()["height"] > 15
    look(visitor, "notebook")
    visitor.locator(".next-page").click()
    expect(visitor.locator("article h1")).to_contain_text("03")
    visitor.locator(".prev-page").click()
    expect(visitor.locator("article h1")).to_contain_text("02")

    expect(side(visitor, "The paper, item by item")).to_be_visible()
    look(visitor, "index")
    figure = visitor.locator("section", has=visitor.locator("h3", has_text="Figure 4:")).last
    assert figure.locator("img").evaluate("image => image.complete && image.naturalWidth > 100")
    figure.get_by_role("link", name="09 · ").click()
    assert "09_channel_attention.html#" in visitor.url
    expect(visitor.locator(":target h2")).to_be_in_viewport()

    expect(side(visitor, "Glossary")).to_be_visible()
    visitor.locator(".toc-tree").get_by_role("link", name="FSHF", exact=True).click()
    expect(visitor.locator(":target h3")).to_be_in_viewport()
    look(visitor, "glossary")

    visitor.locator(".sidebar-search").fill("half-and-half")
    visitor.keyboard.press("Enter")
    found = visitor.locator("#search-results li a").filter(has_text="11 · Where it fails")
    expect(found.first).to_be_visible()
    look(visitor, "search")
    found.first.click()
    expect(visitor.locator("article h1")).to_contain_text("11")


def test_a_notebook_and_its_run_on_real_photos_are_linked(visitor):
    side(visitor, "09 · What does channel attention do?")
    visitor.get_by_role("link", name="real photos, profile cpu").click()
    assert "/outputs/cpu/09_channel_attention.html" in visitor.url
    visitor.get_by_role("link", name="embedded data").click()
    assert "/notebooks/09_channel_attention.html" in visitor.url


def test_the_claims_are_searched_and_sorted(visitor):
    side(visitor, "All claims of the paper")
    count, rows = visitor.locator("#ledger-count"), visitor.locator("#ledger tbody tr:visible")
    total = len(claims.claims())
    expect(count).to_have_text(f"{total} of {total} claims")
    visitor.get_by_role("searchbox").fill("hifst MAE of")
    expect(count).to_have_text(f"3 of {total} claims")
    expect(rows).to_have_count(3)
    visitor.get_by_role("combobox").select_option("needs data")
    expect(rows).to_have_count(2)
    visitor.get_by_role("searchbox").fill("")
    visitor.get_by_role("combobox").select_option("")

    heading = visitor.get_by_role("columnheader", name="here")
    for order in ("ascending", "descending"):
        heading.get_by_role("button").press("Enter")
        expect(heading).to_have_attribute("aria-sort", order)
        shown = rows.locator("td.here").all_inner_texts()
        numbers = [float(text) for text in shown if text]
        assert numbers == sorted(numbers, reverse=order == "descending") and len(numbers) > 20
        assert shown[len(numbers) :] == [""] * (total - len(numbers))
    visitor.locator(".ledger-table").focus()
    before = visitor.url
    visitor.keyboard.press("ArrowRight")  # scrolls, and does not leave the page
    visitor.keyboard.press("ArrowLeft")
    visitor.wait_for_timeout(500)
    assert visitor.url == before
    look(visitor, "claims")


def test_search_works_without_a_server(page, site):  # noqa: F811
    page.goto((site / "search.html").as_uri() + "?q=half-and-half")
    expect(page.locator("#search-results li a").filter(has_text="11 · Where it fails").first).to_be_visible()
