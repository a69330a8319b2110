"""The detector of the site in a real browser, as somebody without Python uses it: `make test-browser`.

Needs what `check_site.py` needs, and npm. Maps are compared with those of `detect`. A request to another server than
the one on loopback, or one that sends something, fails the test. Pictures are kept in build/browser/.
"""

import base64
import json
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from check_explorer import PATIENCE, PICTURES, browser  # noqa: F401  fixtures
from check_site import DESKTOP, PHONE, address, site  # noqa: F401  fixtures
from PIL import Image
from playwright.sync_api import expect

from defusion_lib import detect, load_network, read_image
from defusion_lib.data.bundled import wheel_file
from defusion_lib.plots import overlay

APART = 0.005  # largest mean difference of a map from Python's; at most .0015 was measured, without antialiasing .013
NO_PICTURE = (
    "notes.jpg cannot be opened by this browser: choose a JPEG, PNG, WebP, GIF, BMP or AVIF file, or a smaller photo."
)
ORIENTATION = 0x0112  # in EXIF
FAKE_GPU = "Object.defineProperty(navigator, 'gpu', {value: {requestAdapter: async () => ({info: {}})}});\n"
# ONNX Runtime under the name of the build for WebGPU, which computes on the processor until a map is asked for.
FAILS_LATER = """
import * as ort from "./wasm.js";
export const { env, Tensor } = ort;
export const InferenceSession = {
  create: async (network) => {
    const session = await ort.InferenceSession.create(network, { executionProviders: ["wasm"] });
    const run = (given) => (given.photo.dims[2] > 64 ? Promise.reject(new Error("lost")) : session.run(given));
    return { run };
  },
};
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("photos")


@pytest.fixture(scope="module", autouse=True)
def detector(site):  # noqa: F811
    """The built files of the detector; without npm there are none."""
    if shutil.which("npm") is None:
        pytest.skip("The detector was not tested: npm, which fetches its runtime, is missing.")
    files = site / "_static/detector"
    assert (files / "network.onnx").stat().st_size < 20e6
    yield files


@contextmanager
def opened(browser, address, *routes):  # noqa: F811
    """A page with the detector; `routes` are (pattern, handler)."""
    page = browser.new_page(viewport=DESKTOP)
    page.set_default_timeout(1000 * PATIENCE)
    expect.set_options(timeout=1000 * PATIENCE)
    page.errors, page.requests = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.requests.append(request))
    for pattern, handler in routes:
        page.route(pattern, handler)
    page.goto(f"{address}demo.html")
    yield page
    local = (address, f"blob:{address}", "data:")
    assert [request.url for request in page.requests if not request.url.startswith(local)] == []
    assert [request.url for request in page.requests if request.method != "GET" or request.post_data] == []
    assert page.errors == []
    page.close()
    expect.set_options(timeout=None)


@pytest.fixture(scope="module")
def visitor(browser, address):  # noqa: F811
    """One page for many photos; it notes what its status says."""
    with opened(browser, address) as page:
        page.evaluate(
            """() => {
                const status = document.getElementById("detector-status");
                window.said = [];
                new MutationObserver(() => window.said.push(status.textContent)).observe(status, {childList: true});
            }"""
        )
        yield page


def choose(page, path):
    """Choose a photo, as a click on the button does."""
    with page.expect_file_chooser() as chooser:
        page.get_by_label("Choose or take a photo").click()
    chooser.value.set_files(path)


@pytest.fixture
def loaded(visitor):
    """The same page after a first photo."""
    if not [request for request in visitor.requests if request.url.endswith("wasm.js")]:
        visitor.get_by_role("button", name="A flower").click()
        finish(visitor, "flower.jpg")
    return visitor


def status(page):
    return page.get_by_role("status")


def finish(page, name):
    """Wait for the full map of a photo."""
    expect(status(page)).to_contain_text(f"The map of {name}, computed in ")


def saved(page, folder):
    """The map that the page saves, in [0, 1]."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the map").press("Enter")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return np.asarray(Image.open(path).convert("L")) / 255


@pytest.fixture(scope="module")
def network():
    return load_network()


def apart(found, path, network):
    """The mean difference of a map from Python's, at its size."""
    expected = Image.fromarray(detect(read_image(path), network)).resize(found.shape[::-1], Image.Resampling.BILINEAR)
    return np.abs(found - np.asarray(expected)).mean()


def canvas(page, name):
    """The pixels of a canvas, (H, W, 3)."""
    values = page.evaluate(
        """name => {
            const canvas = document.getElementById(`detector-${name}`);
            const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [canvas.height, canvas.width, btoa(Array.from(data, (each) => String.fromCharCode(each)).join(""))];
        }""",
        name,
    )
    return np.frombuffer(base64.b64decode(values[2]), np.uint8).reshape(*values[:2], 4)[..., :3]


# ------------------------------------------------------------------------------------------ with one page


def test_a_sample_by_keyboard(visitor, folder, network):
    sample = visitor.get_by_role("button", name="A flower in front of leaves")
    visitor.get_by_label("Choose or take a photo").focus()
    visitor.keyboard.press("Tab")
    expect(sample).to_be_focused()
    visitor.keyboard.press("Enter")
    finish(visitor, "flower.jpg")
    said = visitor.evaluate("window.said")
    assert [words for words in said if words.startswith("Loading the detector (32 MB)")]
    assert [words for words in said if words.startswith("This is a first, coarse map.")]
    expect(status(visitor)).to_contain_text("WebAssembly, on one thread")
    expect(visitor.get_by_role("progressbar")).to_be_hidden()

    photo = wheel_file("sklearn", "flower.jpg")
    found = saved(visitor, folder)
    assert found.shape == (427, 640) and (folder / "flower_defocus.png").is_file()
    assert apart(found, photo, network) < APART

    slider = visitor.get_by_role("slider", name="Threshold")
    for key, threshold in (("Home", 0.0), ("End", 1.0), ("PageDown", 0.9)):
        slider.press(key)
        share = (found > threshold).mean()
        expect(slider).to_have_attribute(
            "aria-valuetext", f"{threshold:.2f}: {100 * share:.0f} % of the photo is out of focus."
        )
    expected = overlay(read_image(photo), np.float32(found > 0.9))
    assert np.abs(canvas(visitor, "overlay").astype(int) - expected).mean() < 2
    expect(visitor.get_by_role("img", name="flower.jpg, orange where it is out of focus")).to_be_visible()
    for size, words in ((PHONE, "phone"), (DESKTOP, "desktop")):
        look(visitor, words, size)
    visitor.emulate_media(color_scheme="dark", reduced_motion="reduce")
    look(visitor, "dark", DESKTOP)
    assert slider.evaluate("slider => getComputedStyle(slider).colorScheme") == "dark"
    assert visitor.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    visitor.emulate_media(color_scheme="light", reduced_motion="no-preference")


def look(page, words, size):
    """Keep a picture; nothing may be wider than the window."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.set_viewport_size(size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.screenshot(path=PICTURES / f"demo_{words}.png", full_page=True)


def test_without_a_connection_a_broken_file_and_a_turned_photo_on_a_phone(loaded, folder, network):
    """The network is there: nothing more is loaded."""
    loaded.set_viewport_size(PHONE)
    before = len(loaded.requests)
    loaded.context.set_offline(True)
    (folder / "notes.jpg").write_text("This is no picture.")
    choose(loaded, folder / "notes.jpg")
    expect(status(loaded)).to_have_text(NO_PICTURE)
    expect(loaded.get_by_role("slider")).to_be_hidden()

    image = Image.open(wheel_file("sklearn", "china.jpg"))
    image.getexif()[ORIENTATION] = 6
    turned = folder / "turned.jpg"
    image.save(turned, exif=image.getexif(), quality=95)
    drop(loaded, turned)
    finish(loaded, "turned.jpg")
    expect(status(loaded)).to_be_in_viewport()
    expect(loaded.get_by_role("img", name="turned.jpg, orange")).to_be_in_viewport()
    found = saved(loaded, folder)
    assert found.shape == (640, 427)
    assert apart(found, turned, network) < APART
    look(loaded, "turned", PHONE)
    loaded.context.set_offline(False)
    assert [request.url for request in loaded.requests[before:] if not request.url.startswith("blob:")] == []


def drop(page, path):
    """Drop a file on the page."""
    page.evaluate(
        """([name, content]) => {
            const files = new DataTransfer();
            const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
            files.items.add(new File([bytes], name));
            const drop = new DragEvent("drop", {dataTransfer: files, bubbles: true, cancelable: true});
            document.body.dispatchEvent(drop);
            if (!drop.defaultPrevented) throw new Error("The browser would open the file.");
        }""",
        [path.name, base64.b64encode(path.read_bytes()).decode()],
    )


def test_a_photo_of_50_megapixels_and_a_newer_one_ends_the_work_on_it(loaded, folder, network):
    photo = Image.open(wheel_file("sklearn", "flower.jpg"))
    # With noise, which only a resize without aliasing removes.
    noise = np.random.default_rng(0).integers(-60, 60, (5774, 8660, 1), np.int8)
    pixels = np.clip(photo.resize((8660, 5774)) + noise.astype(np.int16), 0, 255).astype(np.uint8)
    large = folder / "large.jpg"
    Image.fromarray(pixels).save(large, quality=60)
    choose(loaded, large)
    finish(loaded, "large.jpg")
    found = saved(loaded, folder)
    assert max(found.shape) == 1280
    assert apart(found, large, network) < APART

    small = folder / "small.png"
    photo.resize((100, 60)).save(small)
    loaded.evaluate("window.said.length = 0")
    choose(loaded, large)
    expect(status(loaded)).to_contain_text("Reading large.jpg")
    # The map of the photo before is still shown, and would be saved as that of this one.
    assert loaded.get_by_role("button", name="Save the map").is_disabled()
    assert loaded.get_by_role("slider").is_disabled()
    choose(loaded, small)
    finish(loaded, "small.png")
    assert saved(loaded, folder).shape == (60, 100)
    assert not [words for words in loaded.evaluate("window.said") if "The map of large.jpg" in words]


# ------------------------------------------------------------------------------------- what may go wrong


def with_graphics(detector):
    """A route to a program that finds a graphics processor."""
    script = FAKE_GPU + (detector.parent / "detector_worker.js").read_text()
    return "**/detector_worker.js", lambda route: route.fulfill(body=script, content_type="text/javascript")


def fails_later(detector):
    """Routes to an engine for WebGPU that fails at the first map."""
    facts = json.loads((detector / "facts.json").read_text())
    facts["bytes"]["webgpu.wasm"] = facts["bytes"]["wasm.wasm"]
    return [
        with_graphics(detector),
        ("**/webgpu.js", lambda route: route.fulfill(body=FAILS_LATER, content_type="text/javascript")),
        ("**/webgpu.wasm", lambda route: route.fulfill(path=detector / "wasm.wasm")),
        ("**/facts.json", lambda route: route.fulfill(json=facts)),
    ]


@pytest.mark.parametrize("later", [False, True], ids=["at-start", "later"])
def test_where_webgpu_does_not_work_the_processor_computes(browser, address, detector, later):  # noqa: F811
    with opened(browser, address, *(fails_later(detector) if later else [with_graphics(detector)])) as page:
        page.get_by_role("button", name="A flower").click()
        finish(page, "flower.jpg")
        expect(status(page)).to_contain_text("WebAssembly, on one thread")
        names = [request.url.rpartition("/")[2] for request in page.requests]
        assert names.index("webgpu.js") < names.index("wasm.js")


@pytest.mark.parametrize("file", ["network.onnx", "detector_worker.js"])
def test_a_file_that_cannot_be_loaded_is_asked_for_again(browser, address, file):  # noqa: F811
    failing = (f"**/{file}", lambda route: route.abort())
    with opened(browser, address, failing) as page:
        page.get_by_role("button", name="A flower").click()
        expect(status(page)).to_contain_text("The detector could not be loaded: check the connection")
        page.unroute(failing[0])
        page.get_by_role("button", name="A flower").click()
        expect(status(page)).to_contain_text("This is a first, coarse map.")


def first(page, held):
    """Wait for a request that a route holds, and take it."""
    while not held:
        page.wait_for_timeout(50)
    return held.pop()


def test_photos_that_are_chosen_while_the_network_is_loaded_are_shown_at_once(browser, address, folder):  # noqa: F811
    held = []
    with opened(browser, address, ("**/network.onnx", lambda route: held.append(route))) as page:
        for button, name in (("A flower", "flower.jpg"), ("A pavilion", "china.jpg")):
            page.get_by_role("button", name=button).click()
            expect(page.get_by_role("img", name=f"{name}, without its map yet")).to_be_visible()
        (folder / "notes.jpg").write_text("This is no picture.")
        drop(page, folder / "notes.jpg")
        expect(status(page)).to_have_text(NO_PICTURE)
        with page.expect_event("requestfinished", lambda request: request.url.endswith("network.onnx")):
            first(page, held).continue_()
        expect(page.get_by_role("progressbar")).to_be_hidden()
        page.wait_for_timeout(500)  # for reports of the network's last bytes
        expect(status(page)).to_have_text(NO_PICTURE)


def test_a_sample_that_comes_late_or_not_does_not_replace_a_newer_photo(browser, address, folder):  # noqa: F811
    held = []

    def hold(route):
        if route.request.resource_type == "fetch":
            held.append(route)
        else:
            route.continue_()

    with opened(browser, address, ("**/china.jpg", hold)) as page:
        pavilion = page.get_by_role("button", name="A pavilion")
        late = []
        for _ in range(2):
            pavilion.click()
            expect(status(page)).to_have_text("Reading china.jpg …")
            late.append(first(page, held))
        page.get_by_role("button", name="A flower").click()
        finish(page, "flower.jpg")
        for end in (late[0].continue_, late[1].abort):
            end()
            page.wait_for_timeout(500)
            finish(page, "flower.jpg")
        pavilion.click()
        first(page, held).fulfill(status=404, body="Not found")
        expect(status(page)).to_have_text("china.jpg could not be loaded: check the connection.")


def test_a_download_that_fails_before_a_photo_is_chosen_leaves_no_progress_bar(browser, address):  # noqa: F811
    held = []
    with opened(browser, address, ("**/network.onnx", lambda route: held.append(route))) as page:
        with page.expect_file_chooser():
            page.get_by_label("Choose or take a photo").click()
        bar = page.get_by_role("progressbar")
        expect(bar).to_be_visible()
        first(page, held).abort()
        expect(bar).to_be_hidden()
        expect(status(page)).to_be_empty()


def test_without_a_connection_for_the_second_engine_the_page_says_so(browser, address, detector):  # noqa: F811
    with opened(browser, address, *fails_later(detector), ("**/wasm.wasm", lambda route: route.abort())) as page:
        page.get_by_role("button", name="A flower").click()
        expect(status(page)).to_contain_text("The detector could not be loaded: check the connection")


def test_from_a_file_the_page_says_that_it_needs_a_server(browser, site):  # noqa: F811
    page = browser.new_page()
    page.goto((site / "demo.html").as_uri())
    expect(status(page)).to_contain_text("only from a web server: run python -m http.server")
    expect(page.get_by_role("button", name="A flower")).to_be_hidden()
    page.close()
