"""The gallery of a folder of photos in a real browser, from a file: sort, filter, search, open, and a phone.

Needs what `check_explorer.py` needs. Pictures are kept in build/browser/.
"""

import pytest
import torch
from check_explorer import PATIENCE, PICTURES, browser  # noqa: F401
from photo_runs import Bright, scene
from PIL import Image
from playwright.sync_api import expect

from defusion_lib.apps import photo_folder

ACCENT = "e\N{COMBINING ACUTE ACCENT}.png"  # as macOS writes names
NAMES = ["a.jpg", "<script>alert(1)<b.png", 'c "d" #%?.png', ACCENT, "cut.png", "seen as preview.tif"]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """The address of a gallery with bright (blurred) shares from small to large, one broken file, and one lost map."""
    folder = tmp_path_factory.mktemp("gallery") / "photos"
    folder.mkdir()
    torch.manual_seed(0)
    for name, bright in zip(NAMES, (10, 76, 40, 80, 20, 60)):
        Image.fromarray(scene(300, 400, bright * 5)).save(folder / name)
    (folder / "cut.png").write_bytes(b"")
    found = photo_folder.map_folder(folder, Bright(), 64, progress=False)
    (lost,) = [row.map for row in found.rows if row.file == "a.jpg"]
    (found.into / lost).unlink()
    return photo_folder.write_gallery(found.rows, folder, found.into).as_uri()


@pytest.fixture(params=[(1200, 900), (360, 740)], ids=["desk", "phone"])
def page(browser, gallery, request):  # noqa: F811
    page = browser.new_page(viewport=dict(zip(("width", "height"), request.param)))
    page.set_default_timeout(1000 * PATIENCE)
    expect.set_options(timeout=1000 * PATIENCE)
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
    expect.set_options(timeout=None)


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
    page.get_by_label("Name contains").fill("\N{LATIN CAPITAL LETTER E WITH ACUTE}.")
    assert names(page) == [ACCENT]
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
    assert page.locator("#title").inner_text() == "seen as preview.tif"
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()


def test_steps_end_at_the_first_and_the_last_photo_and_are_announced(page):
    page.get_by_role("button", name="seen as preview.tif").click()
    back, title = page.get_by_role("button", name="previous photo"), page.locator("#title")
    onward = page.get_by_role("button", name="next photo")
    page.keyboard.press("Control+ArrowRight")
    assert title.inner_text() == "seen as preview.tif" and title.get_attribute("aria-live") == "polite"
    onward.press("Enter")
    assert title.inner_text() == ACCENT and onward.is_disabled()
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    for name in ("seen as preview.tif", NAMES[2], NAMES[0], NAMES[1]):  # passes over the broken one
        assert back.is_enabled()
        page.keyboard.press("ArrowLeft")
        assert title.inner_text() == name
    assert back.is_disabled() and onward.is_enabled()


def test_a_click_outside_closes_a_photo_and_one_on_the_padding_does_not(page):
    page.get_by_role("button", name=ACCENT).click()
    box = page.locator("dialog").bounding_box()
    page.mouse.click(box["x"] + 5, box["y"] + 5)
    assert page.locator("dialog").is_visible()
    page.mouse.click(box["x"] - 3, box["y"] + 5)
    assert not page.locator("dialog").is_visible()


def test_a_photo_that_the_browser_cannot_read_is_shown_as_preview(page):
    page.get_by_role("button", name="seen as preview.tif").click()
    page.wait_for_function("document.getElementById('note').textContent.includes('its preview')")
    large = page.locator("#large")
    assert large.get_attribute("src").startswith("previews/")
    assert large.get_attribute("alt") == "the photo's preview, orange where out of focus"


def test_in_the_place_of_a_lost_map_is_the_preview(page):
    page.get_by_role("button", name="a.jpg").click()
    note, large = page.locator("#note"), page.locator("#large")
    for view in ("Overlay", "Photo", "Map"):
        page.get_by_role("button", name=view, exact=True).click()
        if view == "Photo":
            expect(note).to_be_empty()
            assert large.get_attribute("src").endswith("a.jpg")
        else:
            expect(note).to_have_text("The map cannot be read: this is the photo's preview, with the overlay.")
            assert large.get_attribute("src").startswith("previews/")
            assert page.locator(".layer").first.is_hidden()
