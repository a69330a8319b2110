"""The public face: seven names, loaded when they are used, each with an example that runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

import defusion_lib

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "defusion_lib/API.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## `(\w+)`.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))


def run(code, **given):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **given)


def test_the_page_has_every_name_and_no_other():
    assert sorted(EXAMPLES) == sorted(defusion_lib.__all__) == sorted(defusion_lib.FACE)
    assert set(defusion_lib.__all__) <= set(dir(defusion_lib))


@pytest.mark.slow
@pytest.mark.parametrize("name", defusion_lib.__all__)
def test_its_example_runs(name, tmp_path, monkeypatch):
    Image.fromarray(load_sample_image("flower.jpg")[:120, :160]).save(tmp_path / "my.jpg")
    Image.new("L", (160, 120), 255).save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    lines = [line for line in EXAMPLES[name].splitlines() if line and not line.startswith("from ")]
    assert len(lines) <= 4
    exec(EXAMPLES[name], {})


def test_the_package_loads_nothing_before_it_is_used():
    code = "import sys, defusion_lib; print([name for name in ('numpy', 'torch', 'PIL') if name in sys.modules])"
    assert run(code, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_the_baselines_load_without_scikit_learn():
    code = "import sys; sys.modules['sklearn'] = None\nfrom defusion_lib import BASELINES\nprint(*BASELINES)"
    assert "jnb" in run(code, check=True).stdout


@pytest.mark.slow
def test_the_detector_needs_none_of_the_extras():
    absent = "skimage sklearn pandas matplotlib seaborn IPython ipywidgets papermill nbformat yaml torchvision".split()
    code = f"""
import sys
sys.modules |= dict.fromkeys({absent})
import numpy as np
from defusion_lib import detect, load_network
print(detect(np.zeros((40, 60), np.uint8), load_network(), 64).shape)
"""
    assert run(code, check=True).stdout == "(40, 60)\n"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'detekt'"):
        defusion_lib.detekt


def test_the_package_is_typed():
    assert (ROOT / "defusion_lib/py.typed").is_file()
