"""Notebook 14 in a real browser, as somebody at a keyboard uses it: `make test-browser`.

Needs Chromium (Debian: apt-get install chromium; DEFUSION_BROWSER names another), which Playwright drives.
Servers listen on loopback with a token, work on copies of the notebook, and read no settings of the user's.
Their limits are those of `make lab` and `make explorer`.
Pictures of both panels are kept in build/browser/.
"""

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from sklearn.datasets import load_sample_image

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "build/browser"
NAME = "14_explorer"
PATIENCE = float(os.environ.get("DEFUSION_PATIENCE", 120))  # seconds, for anything that a page waits for
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# The news pop-up would cover the notebook, and cells out of sight would not be in the page.
NO_NEWS = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
ALL_CELLS = {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}
KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status"
BROKEN = """
from defusion_lib.apps.explorer import panels


def broken(*_):
    raise RuntimeError("broken on purpose")


panels.score_map = broken"""
# Kernels write the stacks of their threads when they are asked, so that one that hangs can be looked at.
STACKS = """
import faulthandler, os, signal

faulthandler.register(signal.SIGUSR1, file=open(os.path.join({folder!r}, f"{{os.getpid()}}.stacks"), "w"))
"""


# --------------------------------------------------------------------------------------- notebook and servers


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with the notebook for small pictures, and with a copy whose callbacks raise."""
    folder = tmp_path_factory.mktemp("explorer")
    notebook = nbformat.read(ROOT / f"notebooks/{NAME}.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
            cell.source = re.sub(r"^size = \d+", "size = 64", cell.source, flags=re.MULTILINE)
    nbformat.write(notebook, folder / f"{NAME}.ipynb")
    panel = next(i for i, cell in enumerate(notebook.cells) if "PhotoPanel" in cell.source)
    notebook.cells.insert(panel, nbformat.v4.new_code_cell(BROKEN))
    del notebook.cells[panel + 2 :]
    nbformat.write(notebook, folder / "broken.ipynb")
    return folder


def as_made(target):
    """The environment and the options that the Makefile gives a server."""
    command = ["make", "-n", "--no-print-directory", target]
    asked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    words = shlex.split(asked.stdout.splitlines()[-1])
    environment = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    return environment, [word for word in words if word.startswith("--")]


@contextmanager
def serving(tmp_path, program, target, *arguments):
    """Run a Jupyter program as `make target` does until the end of the block; gives its address and token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    config = tmp_path / "config/labconfig"
    config.mkdir(parents=True)
    (config / "page_config.json").write_text(json.dumps(NO_NEWS))
    (config / "default_setting_overrides.json").write_text(json.dumps(ALL_CELLS))
    startup = tmp_path / "ipython/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "stacks.py").write_text(STACKS.format(folder=str(tmp_path)))
    places = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    places["IPYTHONDIR"] = str(tmp_path / "ipython")
    made, options = as_made(target)
    environment = os.environ | made | places | {"DEFUSION_OUTPUTS": str(tmp_path / "outputs")}
    arguments = [argument.replace("TOKEN", token) for argument in arguments]
    command = [sys.executable, "-m", program, "--no-browser", f"--port={port}", *options, *arguments]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _wait_for(server, f"http://127.0.0.1:{port}", tmp_path / "log")
            yield f"http://127.0.0.1:{port}", token
        except Exception as error:
            error.add_note(_what_kernels_do(tmp_path))
            raise
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait_for(server, address, log):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5)
        except urllib.error.HTTPError:
            return  # it answers, and wants the token
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"The server does not answer; its last words:\n{log.read_text()[-2000:]}")


def _what_kernels_do(folder):
    """The last lines of the server's log, and where each kernel is."""
    stacks = sorted(folder.glob("*.stacks"))
    for path in stacks:
        with suppress(ProcessLookupError):
            os.kill(int(path.stem), signal.SIGUSR1)
    time.sleep(1)
    log = (folder / "log").read_text().splitlines()[-30:]
    return "\n".join(["The server's log:", *log, *(f"Kernel {path.stem}:\n{path.read_text()}" for path in stacks)])


@pytest.fixture(scope="session")
def browser():
    path = os.environ.get("DEFUSION_BROWSER") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        names = ", ".join(CHROMIUM)
        pytest.fail(f"Found none of {names}: install one, or name a browser in DEFUSION_BROWSER.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, request):
    """A page that notes its errors; how it looked at the end is kept, so that a failure can be looked at."""
    page = browser.new_page(viewport={"width": 1280, "height": 1900})
    page.set_default_timeout(1000 * PATIENCE)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    # From the start, or the first chooser opens before anybody waits for it.
    page.on("filechooser", lambda chooser: None)
    yield page
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{request.node.name}.png")
    page.close()


@contextmanager
def notebook_in_lab(page, folder, name, tmp_path):
    """Open a notebook in a JupyterLab of its own and run all of its cells; the server ends with the block."""
    arguments = (
        f"--ServerApp.root_dir={folder}",
        "--IdentityProvider.token=TOKEN",
        "--ServerApp.ip=127.0.0.1",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        *(["--allow-root"] if os.geteuid() == 0 else []),
    )
    with serving(tmp_path, "jupyterlab", "lab", *arguments) as (address, token):
        page.goto(f"{address}/lab/tree/{name}.ipynb?token={token}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(f"() => {KERNEL} === 'idle'")
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
        yield


# ----------------------------------------------------------------------------------------- what somebody does


def complaints(page):
    """Whatever went wrong and can be seen: errors in cells and callbacks, and those of the page itself."""
    seen = page.locator('[data-mime-type="application/vnd.jupyter.stderr"], [data-mime-type*="error"]')
    return [text for text in [*seen.all_inner_texts(), *page.errors] if text.strip()]


def control(panel, label):
    return panel.locator(".widget-inline-hbox").filter(has=panel.page.get_by_text(label, exact=True))


def press(panel, label, key, times=1):
    """Focus a slider's handle, and press a key."""
    control(panel, label).get_by_role("slider").focus()
    for _ in range(times):
        panel.page.keyboard.press(key)


def open_dataset(panel, label, option):
    """Choose in a drop-down by keyboard: the space bar opens its list, typing finds the option."""
    part = control(panel, label).locator("select")
    part.focus()
    panel.page.keyboard.press("Space")
    panel.page.keyboard.type(option)
    panel.page.keyboard.press("Enter")
    expect(part.locator("option:checked")).to_have_text(option)


def upload(panel, path):
    """Press the upload button by keyboard, and pick a file."""
    button = panel.get_by_role("button", name="upload a photo")
    button.focus()
    with panel.page.expect_file_chooser() as chooser:
        panel.page.keyboard.press("Space")
    chooser.value.set_files(path)


def use_photos(panel, folder):
    """Use every control of panel one, and see that the pictures and numbers follow."""
    patient = {"timeout": 1000 * PATIENCE}
    words = panel.locator("figcaption")
    expect(words.filter(has_text="above 0.50")).to_have_count(2, **patient)
    channel = words.filter(has_text=re.compile("channel [0-9]+ from conv"))
    expect(channel).to_be_visible(**patient)
    expect(channel).not_to_contain_text("zero everywhere")
    open_dataset(panel, "photo", "rendered: low-contrast-clutter")
    expect(words.filter(has_text="above 0.50; precision")).to_have_count(2, **patient)
    press(panel, "threshold", "ArrowRight")  # the right map is jnb's
    expect(words.filter(has_text="above 0.51; precision")).to_have_count(2, **patient)

    before = panel.get_by_alt_text("by the network, final map (Eq. 8)").first.get_attribute("src")
    press(panel, "network's map", "Home")
    after = panel.get_by_alt_text("by the network, after step 1").first
    expect(after).to_be_visible(**patient)
    assert after.get_attribute("src") != before

    number = panel.locator(".explorer-channel input")
    number.fill("1")
    number.press("Enter")
    expect(words.filter(has_text="channel 1 from conv1_2")).to_be_visible(**patient)
    press(panel, "channel", "ArrowRight", times=2)
    expect(words.filter(has_text="channel 3 from conv1_2")).to_be_visible(**patient)
    bars = panel.locator("svg[role=img]")
    bars.scroll_into_view_if_needed()
    at = bars.locator("rect").nth(69).bounding_box()
    panel.page.mouse.click(at["x"] + at["width"] / 2, at["y"] + 1)
    expect(words.filter(has_text="channel 70 from conv3_3")).to_be_visible(**patient)
    expect(bars).to_have_attribute("aria-label", re.compile("channel 70 has"), **patient)
    open_dataset(panel, "CAM of group", "deep")
    channel = words.filter(has_text=re.compile("channel [0-9]+ from (conv4_3|conv5_3|pool5)"))
    expect(channel).to_be_visible(**patient)
    expect(channel).not_to_contain_text("zero everywhere")

    open_dataset(panel, "right map", "lbp")
    expect(panel.get_by_alt_text("by lbp").first).to_be_visible(**patient)

    flower = load_sample_image("flower.jpg")
    Image.fromarray(np.vstack([flower, flower[::-1]])[:640]).save(folder / "mine.png")
    upload(panel, folder / "mine.png")
    expect(words.filter(has_text="your own photo, 640 x 640 pixels")).to_be_visible(**patient)
    expect(panel.get_by_alt_text("defocus map of your own photo by lbp")).to_be_visible(**patient)
    # Seconds for a photograph of this size, which is long enough to be stopped.
    open_dataset(panel, "left map", "hifst")
    expect(panel.get_by_role("status")).to_contain_text("hifst computes its map", **patient)
    panel.get_by_role("button", name="Stop", disabled=False).click()
    expect(panel.get_by_role("status")).to_contain_text("Stopped", **patient)
    expect(control(panel, "left map").locator("option:checked")).to_have_text("the network", **patient)

    bring(panel, folder)


def bring(panel, folder):
    """Open photos of one's own: large ones, the same one again, broken ones, and by a path."""
    patient = {"timeout": 1000 * PATIENCE}
    words = panel.locator("figcaption")
    expect(panel.get_by_text("up to 64 MB")).to_be_visible()
    Image.fromarray(np.zeros((5333, 4000, 3), np.uint8)).save(folder / "64.bmp")
    Image.fromarray(np.zeros((2500, 4000, 3), np.uint8)).save(folder / "30.bmp")
    for name, size in (("30.bmp", "640 x 400"), ("64.bmp", "480 x 640"), ("mine.png", "640 x 640")):
        upload(panel, folder / name)
        expect(words.filter(has_text=f"your own photo, {size} pixels")).to_be_visible(**patient)
    control(panel, "photo").locator("select").select_option("skimage: coffee")
    expect(words.filter(has_text="skimage: coffee, ")).to_be_visible(**patient)
    upload(panel, folder / "mine.png")
    expect(words.filter(has_text="your own photo, 640 x 640 pixels")).to_be_visible(**patient)

    for name, content in (("broken.jpg", b"no picture"), ("empty.jpg", b"")):
        (folder / name).write_bytes(content)
        upload(panel, folder / name)
        expect(panel.get_by_role("alert")).to_contain_text(f"{name} cannot be read as a picture", **patient)

    path = panel.get_by_label("or the path of a photo")
    path.fill(str(folder / "missing.jpg"))
    path.press("Enter")
    expect(panel.get_by_role("alert")).to_contain_text("There is no file", **patient)
    path.fill(str(folder / "64.bmp"))
    path.press("Enter")
    expect(words.filter(has_text="your own photo, 480 x 640 pixels")).to_be_visible(**patient)
    expect(path).to_have_value("", **patient)


def use_camera(panel):
    """Change the focus and close the aperture, and see image, true radius and map follow."""
    patient = {"timeout": 1000 * PATIENCE}
    words = panel.locator("figcaption")
    expect(words.filter(has_text="focused at")).to_be_visible(**patient)
    before = words.filter(has_text="focused at").inner_text()
    press(panel, "focus distance, m", "ArrowRight")
    expect(words.filter(has_text="focused at")).not_to_have_text(before, **patient)
    press(panel, "aperture, mm", "Home")
    expect(words.filter(has_text="aperture 0 mm")).to_be_visible(**patient)
    expect(words.filter(has_text="0% of the pixels are blurred by more than one")).to_be_visible(**patient)


def use(page, folder, name):
    photos, camera = page.locator(".explorer-photo"), page.locator(".explorer-camera")
    photos.wait_for()
    use_photos(photos, folder)
    photos.screenshot(path=PICTURES / f"{name}_photo.png")
    camera.wait_for()
    use_camera(camera)
    camera.screenshot(path=PICTURES / f"{name}_camera.png")
    expect(page.get_by_text(f"{NAME} wrote")).to_be_visible(timeout=1000 * PATIENCE)
    assert complaints(page) == []


# ----------------------------------------------------------------------------------------------------- checks


def test_in_jupyterlab(page, folder, tmp_path):
    with notebook_in_lab(page, folder, NAME, tmp_path):
        use(page, folder, "lab")


def test_a_callback_that_raises_is_seen(page, folder, tmp_path):
    with notebook_in_lab(page, folder, "broken", tmp_path):
        panel = page.locator(".explorer-photo")
        seen = panel.get_by_text("broken on purpose").first
        expect(seen).to_be_visible(timeout=1000 * PATIENCE)
        seen.scroll_into_view_if_needed()
        assert any("broken on purpose" in text for text in complaints(page))


def test_in_voila(page, folder, tmp_path):
    arguments = ("--Voila.ip=127.0.0.1", "--Voila.token=TOKEN", "--show_tracebacks=True")
    with serving(tmp_path, "voila", "explorer", *arguments, str(folder / f"{NAME}.ipynb")) as (address, token):
        page.goto(f"{address}/?token={token}")
        use(page, tmp_path, "voila")
        assert page.get_by_text("from dataclasses import").count() == 0  # a page for classes shows no code
