"""torch's waiting threads spin as long as the library says, or as its user says, wherever Python is started."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from defusion_lib import SPINCOUNT

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
# What a user set, and what is to come of it (None: the library leaves it to libgomp).
GIVEN = [({}, SPINCOUNT), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, None)]


def environment(given):
    """This environment with nothing of the two settings but what is given."""
    return {name: value for name, value in os.environ.items() if name not in NAMES} | given


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="torch's wheels for other systems bring another OpenMP")
@pytest.mark.parametrize("module", ["defusion_lib", "conftest"])
@pytest.mark.parametrize("given, expected", GIVEN)
def test_libgomp_reads_the_setting(module, given, expected):
    code = "import sys; sys.path[:0] = sys.argv[1:]; import {}, torch"
    places = [str(ROOT), str(ROOT / "tests")]
    asked = environment(given) | {"OMP_DISPLAY_ENV": "verbose"}
    told = subprocess.run(
        [sys.executable, "-c", code.format(module), *places], env=asked, capture_output=True, text=True, check=True
    ).stderr
    # scikit-learn's own libgomp, where it is loaded too, tells its settings in another block.
    read = re.findall(r"GOMP_SPINCOUNT = '(\d+)'", told)
    assert read, "torch brings no libgomp here"
    assert read[-1] == expected if expected else SPINCOUNT not in read


@pytest.mark.parametrize("given, expected", GIVEN)
def test_make_exports_the_setting(given, expected):
    asked = environment(given)
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        asked.pop(name, None)
    told = subprocess.run(
        ["make", "--no-print-directory", "-f", "Makefile", "-f", "-", "tell"],
        cwd=ROOT, env=asked, input="tell:\n\t@echo [$$GOMP_SPINCOUNT]\n", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout.strip() == f"[{expected or ''}]"
