"""Maps are kept: computed once, made again when photograph, code, learnt arrays or the picture are not the same."""

import functools
import importlib
import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from defusion_lib import sources
from defusion_lib.baselines import BASELINES
from defusion_lib.baselines import fitted as learnt_module
from defusion_lib.baselines.fitted import load_fitted, save_fitted
from defusion_lib.data import Photo, PhotoSet
from defusion_lib.experiments import map_cache
from defusion_lib.experiments.map_cache import LEFT_OUT, cached_maps, fingerprint


def photo(stem):
    image = np.random.default_rng(int(stem)).integers(0, 256, (20, 30, 3), np.uint8)
    return Photo(stem, image, np.zeros((20, 30), np.float32))


PHOTOS = PhotoSet("photos", ["1", "2", "3"], photo)


class Counted:
    """A method that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, image):
        self.calls += 1
        return image[..., 0].astype(np.float32) / 255 * 0.999


@pytest.fixture
def method():
    return Counted()


def run(method, folder, photos=PHOTOS, state="first"):
    """{stem: map}, and how many were computed."""
    before = method.calls
    found = {photo.name: kept for photo, kept in cached_maps(photos, method, folder, state)}
    return found, method.calls - before


def test_maps_are_computed_once(method, tmp_path):
    first, computed = run(method, tmp_path)
    assert computed == 3
    again, computed = run(method, tmp_path)
    assert computed == 0
    for stem in PHOTOS.stems:
        assert np.array_equal(first[stem].defocus, again[stem].defocus)
        assert first[stem].defocus.dtype == np.float32
        assert first[stem].seconds == again[stem].seconds > 0
        exact = Counted()(photo(stem).image)
        assert np.abs(first[stem].defocus - exact).max() <= 0.5 / 255 + 1e-6


def test_only_what_is_missing_is_computed(method, tmp_path):
    run(method, tmp_path, PHOTOS[:1])
    assert run(method, tmp_path)[1] == 2


def test_changed_photograph(method, tmp_path):
    run(method, tmp_path)

    def changed(stem):
        image = photo(stem).image.copy()
        image[0, 0, 0] ^= stem == "2"
        return Photo(stem, image, None)

    found, computed = run(method, tmp_path, PhotoSet("photos", PHOTOS.stems, changed))
    assert computed == 1


def test_photograph_of_another_shape_with_the_same_bytes(method, tmp_path):
    run(method, tmp_path)
    turned = PhotoSet("photos", ["1"], lambda stem: Photo(stem, photo(stem).image.reshape(30, 20, 3), None))
    found, computed = run(method, tmp_path, turned)
    assert computed == 1 and found["1"].defocus.shape == (30, 20)


def test_changed_method(method, tmp_path):
    run(method, tmp_path)
    assert run(method, tmp_path, state="second")[1] == 3
    assert run(method, tmp_path, state="second")[1] == 0


def spoil(path, how):
    whole = path.read_bytes()
    with Image.open(path) as picture:
        levels, text = np.array(picture), picture.text
    if how == "cut off":
        path.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "damaged":
        path.write_bytes(whole[:-40] + bytes(20) + whole[-20:])
    elif how == "no text":
        Image.fromarray(levels).save(path)
    elif how == "text of another kind":
        path.write_bytes(whole.replace(b'{"key"', b'["key"'))
    elif how == "smaller":
        info = map_cache.PngImagePlugin.PngInfo()
        info.add_text("defusion", text["defusion"])
        Image.fromarray(levels[:5]).save(path, pnginfo=info)
    elif how == "no picture":
        path.write_text("nothing")
    elif how == "JPEG":
        Image.fromarray(levels).save(path, "jpeg")


@pytest.mark.parametrize(
    "how",
    ["cut off", "empty", "damaged", "no text", "text of another kind", "smaller", "no picture", "JPEG"],
)
def test_spoilt_picture_is_made_again(method, tmp_path, how):
    first, _ = run(method, tmp_path)
    spoil(tmp_path / "2.png", how)
    again, computed = run(method, tmp_path)
    assert computed == 1
    assert np.array_equal(first["2"].defocus, again["2"].defocus)
    assert run(method, tmp_path)[1] == 0


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(method, tmp_path):
    script = f"""
        import os, signal, sys
        sys.path[:0] = {[os.path.dirname(__file__)]!r}
        import test_map_cache

        class Killed(test_map_cache.Counted):
            def __call__(self, image):
                if self.calls == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__call__(image)

        test_map_cache.run(Killed(), test_map_cache.map_cache.Path({str(tmp_path)!r}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], timeout=100)
    assert done.returncode == -signal.SIGKILL
    assert run(method, tmp_path)[1] == 1


def test_a_method_that_fails_keeps_what_was_done(method, tmp_path):
    def failing(image):
        if np.array_equal(image, photo("2").image):
            raise ValueError("no")
        return method(image)

    with pytest.raises(ValueError, match="no"):
        list(cached_maps(PHOTOS, failing, tmp_path, "first"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png"]


def test_the_picture_says_what_it_was_made_from(method, tmp_path):
    run(method, tmp_path)
    with Image.open(tmp_path / "1.png") as picture:
        assert picture.mode == "L" and picture.size == (30, 20)
        assert set(json.loads(picture.text["defusion"])) == {"key", "seconds"}


# ------------------------------------------------------------------------------------------- the fingerprint

SOURCES = {
    "baselines/classical/tiny.py": """
        from defusion_lib.baselines import wrapper
        from defusion_lib.baselines.classical import helper

        @wrapper.classical_method
        def detect(image, progress):
            "A map."
            return helper.level(image)
        """,
    "baselines/classical/helper.py": """
        from defusion_lib import metrics
        from defusion_lib.stopping import tick

        def level(image):
            tick()
            return image[..., 0] / (metrics.LEVELS - 1)
        """,
    "baselines/classical/other.py": "unused = 1",
    "stopping.py": "def tick(): pass",
    "__init__.py": "FACE = 1",
    "baselines/__init__.py": "BASELINES = 1",
    "metrics.py": "LEVELS = 256",
    "baselines/wrapper.py": "def classical_method(core): return core",
}


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library of a few lines in place of the real one, as far as fingerprints read it."""
    for name, source in SOURCES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
    monkeypatch.setattr(map_cache, "running_code", functools.partial(sources.all_imports, folder=tmp_path))
    return tmp_path


def tiny():
    def detect(image, progress=False):
        raise AssertionError

    detect.__module__ = "defusion_lib.baselines.classical.tiny"
    return detect


def test_same_method_same_fingerprint(library):
    assert fingerprint(tiny()) == fingerprint(tiny())
    assert fingerprint(tiny(), 1) != fingerprint(tiny()) != fingerprint(tiny(), "a")


@pytest.mark.parametrize(
    ("name", "old", "new", "changes"),
    [
        ("__init__.py", "1", "2", False),
        ("baselines/__init__.py", "1", "2", False),
        ("baselines/classical/tiny.py", "level(image)", "level(image) / 2", True),
        ("baselines/classical/helper.py", "..., 0", "..., 1", True),
        ("metrics.py", "256", "255", True),
        ("baselines/wrapper.py", "return core", "return print", True),
        ("baselines/classical/other.py", "1", "2", False),
        ("baselines/classical/tiny.py", '"A map."', '"Another word."', False),
        ("baselines/classical/helper.py", "def level", "# a comment\n\n\ndef level", False),
        ("baselines/classical/helper.py", "    tick()\n", "", False),
        ("baselines/classical/helper.py", "    tick()\n", "    level = tick(level)\n", False),
        ("baselines/classical/helper.py", "    tick()\n", "    tock()\n", True),
        ("baselines/classical/helper.py", "from defusion_lib.stopping", "from elsewhere", True),
        ("stopping.py", "pass", "print()", False),
    ],
)
def test_fingerprint_of_changed_code(library, name, old, new, changes):
    before = fingerprint(tiny())
    source = (library / name).read_text()
    assert old in source
    (library / name).write_text(source.replace(old, new))
    assert (fingerprint(tiny()) != before) == changes


def test_the_code_of_a_network_is_part_of_its_fingerprint(library):
    of_network = {"module": "defusion_lib.baselines.classical.other"}
    before = fingerprint(tiny()), fingerprint(tiny(), **of_network)
    path = library / "baselines/classical/other.py"
    path.write_text(path.read_text().replace("1", "2"))
    assert fingerprint(tiny()) == before[0] != before[1] != fingerprint(tiny(), **of_network)


def test_code_that_was_edited_after_it_was_loaded_has_no_fingerprint(monkeypatch):
    assert fingerprint(BASELINES["ss"])
    monkeypatch.setitem(sources.LOADED, sources.module_file("defusion_lib.baselines.classical.ss"), 0)
    with pytest.raises(ValueError, match=r"^defusion_lib\.baselines\.classical\.ss was edited after .*: restart the"):
        fingerprint(BASELINES["ss"])


def test_fingerprint_of_changed_arrays(library, monkeypatch):
    monkeypatch.setattr(learnt_module, "FOLDER", library / "baselines/classical")
    seen = {fingerprint(tiny())}
    for name, arrays, stamp, differs in (
        ("tiny", {"a": [1, 2]}, {}, True),
        ("tiny", {"a": [1, 3]}, {}, True),
        ("tiny", {"a": [1.0, 3.0]}, {}, True),
        ("tiny", {"a": [[1.0, 3.0]]}, {}, True),
        ("tiny", {"b": [[1.0, 3.0]]}, {}, True),
        ("tiny", {"b": [[1.0, 3.0]]}, {"seconds": 3}, False),
        ("helper", {"a": [1]}, {}, True),
        ("other", {"a": [1]}, {}, False),
    ):
        save_fitted(name, arrays, stamp)
        load_fitted.cache_clear()
        count = len(seen)
        seen.add(fingerprint(tiny()))
        assert len(seen) == count + differs, (name, arrays)
    load_fitted.cache_clear()


def test_fingerprint_of_a_split_has_its_arrays(library, monkeypatch):
    monkeypatch.setattr(learnt_module, "FOLDER", library / "baselines/classical")
    seen = []
    for value in (1, 2):
        save_fitted("tiny", {"a": [value]}, {}, "last100")
        load_fitted.cache_clear()
        seen.append([fingerprint(tiny()), fingerprint(functools.partial(tiny(), split="last100"))])
    load_fitted.cache_clear()
    assert seen[0][0] == seen[1][0] and len({seen[0][1], *seen[1]}) == 3


def test_fingerprint_of_a_function_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    seen = []
    for number, body in enumerate(("return 1", "return 2", "return 2  # the same")):
        (tmp_path / f"elsewhere{number}.py").write_text(f"def detect(image):\n    {body}\n")
        seen.append(fingerprint(importlib.import_module(f"elsewhere{number}").detect))
    assert seen[0] != seen[1] == seen[2]


def test_fingerprint_of_the_real_wrapper_reaches_what_it_calls():
    from defusion_lib.baselines import wrapper

    @wrapper.classical_method
    def detect(image, progress):
        return image[..., 0] / 255

    assert fingerprint(detect)  # unwrapped: this function, whose source is here
    found = set(sources.all_imports(["defusion_lib.baselines.wrapper"], LEFT_OUT))
    assert {"defusion_lib.baselines.wrapper", "defusion_lib.inference"} <= found
    assert not found & set(LEFT_OUT)
