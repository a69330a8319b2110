"""The paper's numbers against the paper's text."""

import os
import re
from pathlib import Path

import pytest

from defusion_lib.paper import tables

NUMBER = re.compile(r"\d\.\d{3}")
IN_TEXT = {
    "woFFRM": "defusionnet+noffrm",
    "CVPR19": "cvpr19",
    "wFAMwoCAM": "defusionnet+nocam",
    "wCAMwoFAM": "defusionnet+nofam",
    "DeFusionNet": "defusionnet",
    **{f"DeFusionNet_O{k}": f"defusionnet+o{k}" for k in range(1, 7)},
    **{f"Step_{k}": f"defusionnet+step{k}" for k in range(1, 7)},
}
NAMES_1 = "JNB DBDF SS LBP KSFV DHDE HiFST DBM DMENet BTBNet CVPR19 DeFusionNet".split()


@pytest.fixture(scope="module")
def text():
    beside = Path(__file__).resolve().parents[3] / "shared"
    path = Path(os.environ.get("DEFUSION_DATA", beside)) / "paper" / "defusionnet_tpami2020.txt"
    if not path.exists():
        pytest.skip("no text of the paper (set DEFUSION_DATA to the folder that holds paper/)")
    return path.read_text(encoding="utf-8")


def table(text, number):
    """The lines after a table's caption up to the first line of prose."""
    start = re.search(rf"^ ?TABLE {number}\b", text, re.MULTILINE).start()
    return [line for line in text[start:].splitlines()[:30] if "\t" in line]


def test_table_1_says_what_the_paper_says(text):
    head, *rows = table(text, 1)
    assert head.split("\t")[2:] == NAMES_1
    read, metrics = {}, iter(["f+mae", "auc", "f", "mae", "auc", "f", "mae", "auc"])
    dataset = None
    for row in rows[:8]:
        first, _, *cells = row.split("\t")
        dataset = {"Shi": "shi", "DUT": "dut", "CTC": "ctcug"}.get(first[:3], dataset)
        # The copy of the text prints the first two rows of Shi's set in one, two numbers a cell.
        for position, metric in enumerate(next(metrics).split("+")):
            for method, cell in zip(NAMES_1, cells, strict=True):
                read[dataset, metric, method.lower()] = float(cell.split()[position])
    assert read == tables.TABLE_1
    assert len(read) == 12 * 3 * 3


def test_table_2_says_what_the_paper_says(text):
    read = {}
    for row in table(text, 2)[2:13]:
        name, *cells = row.split("\t")
        read |= {(*column, IN_TEXT[name]): float(cell) for column, cell in zip(columns(), cells, strict=True)}
    assert read == tables.TABLE_2
    assert len(read) == 11 * 9


def test_table_3_says_what_the_paper_says(text):
    read = {}
    for row in table(text, 3)[2:8]:
        name, *groups = row.split("\t")
        for dataset, group in zip(tables.DATASETS, groups):
            cells = [float(cell) for cell in NUMBER.findall(group)] or [None] * 3
            for metric, cell in zip(("f", "mae", "auc"), cells, strict=True):
                read[dataset, metric, IN_TEXT[name]] = cell
    assert read == tables.TABLE_3
    assert [key for key, value in read.items() if value is None] == [
        ("dut", metric, "defusionnet+step2") for metric in ("f", "mae", "auc")
    ]


def columns():
    return [(dataset, metric) for dataset in ("shi", "dut", "ctcug") for metric in ("f", "mae", "auc")]


def test_every_number_of_the_running_text_stands_there(text):
    flat = " ".join(text.split())
    for name, stated in {**tables.TIMINGS, **tables.COUNTS, **tables.SETTINGS}.items():
        assert stated.words in flat, name
        words = stated.words.replace(",", "") if "9,664" in stated.words else stated.words
        words = words.replace("five", "5").replace("two", "2").replace("5k", "5000").replace("10k", "10000")
        numbers = [float(number) for number in re.findall(r"\d+(?:\.\d+)?(?:e-\d+)?", words)]
        assert stated.value in numbers, name


def test_the_three_test_times_stand_in_the_order_of_the_data_sets():
    times = [tables.TIMINGS[f"test-{dataset}"] for dataset in tables.DATASETS]
    assert [f"{time.value}s" for time in times] == re.findall(r"[\d.]+s", times[0].words)


def test_the_numbers_agree_with_each_other():
    of = {name: stated.value for name, stated in {**tables.COUNTS, **tables.SETTINGS}.items()}
    assert of["shi-train"] + of["shi-test"] == of["shi-defocus"]
    assert of["shi-defocus"] + of["shi-motion"] == of["shi-all"]
    assert of["shi-train-augmented"] == 16 * of["shi-train"]
    assert of["compared-deep"] + of["compared-classic"] == of["compared-methods"]
    assert tables.OUTPUTS == 19
    for dataset, metric in columns():
        whole = tables.TABLE_1[dataset, metric, "defusionnet"]
        assert tables.TABLE_2[dataset, metric, "defusionnet"] == whole
        assert tables.TABLE_3[dataset, metric, "defusionnet+step3"] == whole


def test_cvpr19_differs_between_tables_1_and_2_in_one_cell_only():
    differing = {
        column: (tables.TABLE_1[*column, "cvpr19"], tables.TABLE_2[*column, "cvpr19"])
        for column in columns()
        if tables.TABLE_1[*column, "cvpr19"] != tables.TABLE_2[*column, "cvpr19"]
    }
    assert differing == {("ctcug", "auc"): (0.693, 0.689)}
