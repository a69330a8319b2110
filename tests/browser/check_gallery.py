"""The gallery of a folder of photos in a real browser, from a file: sort, filter, search, open, and a phone.

Needs what `check_explorer.py` needs. Pictures are kept in build/browser/.
"""

import pytest
import torch
from check_explorer import PATIENCE, PICTURES, browser  # noqa: F401
from photo_runs import Bright, scene
from PIL import Image

from defusion_lib.apps import photo_folder

NAMES = ["a.jpg", "<script>alert(1)<b.png", 'c "d" #%?.png', "e.png", "cut.png", "seen as preview.tif"]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """The address of a gallery with bright (blurred) shares from small to large, and one broken file."""
    folder = tmp_path_factory.mktemp("gallery") / "photos"
    folder.mkdir()
    torch.manual_seed(0)
    for name, bright in zip(NAMES, (10, 76, 40, 80, 20, 60)):
        Image.fromarray(scene(300, 400, bright * 5)).save(folder / name)
    (folder / "cut.png").write_bytes(b"")
    found = photo_folder.map_folder(folder, Bright(), 64, progress=False)
    return photo_folder.write_gallery(found.rows, folder, found.into).as_uri()


@pytest.fixture(params=[(1200, 900), (360, 740)], ids=["desk", "phone"])
def page(browser, gallery, request):  # noqa: F811
    page = browser.new_page(viewport=dict(zip(("width", "height"), request.param)))
    page.set_default_timeout(1000 * PATIENCE)
    page.problems, page.asked = [], []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("dialog", lambda dialog: page.problems.append("a dialog opened") or dialog.dismiss())
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(gallery)
    yield page
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{request.node.name}.png")
    assert page.problems == [] and all(url.startswith("file:") for url in page.asked)
    assert page.evaluate("document.documentElement.scrollWidth") <= request.param[0]
    page.close()


def names(page):
    return page.locator("li .name").all_text_contents()


def test_sort_filter_and_search(page):
    assert sorted(names(page)) == sorted(NAMES) and page.locator("#count").inner_text() == "6 photos"
    scores = {}
    for order in ("low", "high"):
        page.get_by_label("Sort by").select_option(order)
        words = page.locator("li .verdict").all_text_contents()
        assert words[-1] == "problem"
        scores[order] = [float(each.rpartition(" ")[2]) for each in words[:-1]]
    assert scores["low"] == sorted(scores["low"]) == scores["high"][::-1]
    page.get_by_label("Show").select_option("problem")
    assert names(page) == ["cut.png"] and page.locator("#count").inner_text() == "1 of 6 photos"
    assert "cannot be read" in page.locator("li").text_content()
    page.get_by_label("Show").select_option("out of focus")
    assert sorted(names(page)) == sorted([NAMES[1], NAMES[3]])
    assert all(words.startswith("out of focus, score") for words in page.locator("li .verdict").all_text_contents())
    page.get_by_label("Show").select_option("")
    page.get_by_label("Name contains").fill("SCRIPT")
    assert names(page) == [NAMES[1]]
    assert page.locator("#more").is_hidden()


def test_a_photo_opens_with_its_map_and_overlay(page):
    tile = page.get_by_role("button", name='c "d" #%?.png')
    tile.focus()
    page.keyboard.press("Enter")
    large = page.locator("#large")
    for view, end in (("Map", "_defocus.png"), ("Photo", "%3F.png"), ("Overlay", "%3F.png")):
        page.get_by_role("button", name=view, exact=True).click()
        assert large.get_attribute("src").endswith(end)
        page.wait_for_function("document.getElementById('large').naturalWidth === 400")
    box = large.bounding_box()
    shot = page.screenshot(clip=box)
    (PICTURES / "shot.png").parent.mkdir(parents=True, exist_ok=True)
    (PICTURES / "shot.png").write_bytes(shot)
    pixels = Image.open(PICTURES / "shot.png").convert("RGB")
    blurred, sharp = (pixels.getpixel((int(share * box["width"]), int(box["height"] / 2))) for share in (0.2, 0.8))
    assert blurred[0] - blurred[2] > 100 and max(sharp) - min(sharp) < 40
    page.keyboard.press("ArrowRight")
    assert page.locator("#title").inner_text() == "e.png"
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_a_photo_that_the_browser_cannot_read_is_shown_as_preview(page):
    page.get_by_role("button", name="seen as preview.tif").click()
    page.wait_for_function("document.getElementById('note').textContent.includes('its preview')")
    assert page.locator("#large").get_attribute("src").startswith("previews/")
