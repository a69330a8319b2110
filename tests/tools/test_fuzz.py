"""A tenth of the damaged files of `make fuzz`; and what the fuzz must not let pass, it reports."""

from pathlib import Path

import pytest

from tools import fuzz

pytestmark = pytest.mark.usefixtures("one_thread")

CHOSEN = fuzz.cases()[::10]


def test_there_are_300_cases_and_a_tenth_has_every_kind():
    assert len(fuzz.cases()) == 300 and len(CHOSEN) == 30
    assert {case.kind for case in CHOSEN} == set(fuzz.KINDS)
    assert len({case.damage for case in CHOSEN}) > 15


@pytest.mark.parametrize("case", CHOSEN, ids=lambda case: f"{case.kind}, {case.damage}")
def test_a_damaged_file_ends_in_a_sentence_or_in_what_it_holds(case, tmp_path):
    end = fuzz.tried(case, tmp_path)
    assert end.outcome in ("sentence", "same", "right"), end.words


def raising(error):
    def read(path):
        if path.read_bytes() != b"right":
            raise error
        return "right"

    return read


def leaving_a_part(path):
    if path.read_bytes() != b"right":
        path.with_suffix(".part").write_bytes(b"half")
        raise ValueError("a.txt is broken: get it again")
    return "right"


def leaving_a_part_of_a_result(path):
    path.with_suffix(".part").write_bytes(b"half")
    return "right"


def writing_over(path):
    if path.read_bytes() != b"right":
        path.write_bytes(b"")
        raise ValueError("a.txt is broken: get it again")
    return "right"


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (raising(KeyError("a.txt")), "another type: KeyError"),
        (raising(UnicodeDecodeError("utf-8", b"", 0, 1, "a.txt")), "another type: UnicodeDecodeError"),
        (raising(OSError(21, "Is a directory", "a.txt")), "the system's words: IsADirectoryError"),
        (raising(ValueError("a.txt\nis broken")), "several lines"),
        (raising(ValueError("it is broken")), "no name of the file"),
        (raising(ValueError("a.txt" * 500)), "more than 1000 characters"),
        (leaving_a_part, "a file left over or changed"),
        (leaving_a_part_of_a_result, "left over: a.part"),
        (writing_over, "a file left over or changed"),
        (Path.read_bytes, "accepted as"),
    ],
)
def test_what_is_no_sentence_and_not_right_is_a_defect(read, words, tmp_path, monkeypatch):
    kind = fuzz.Kind(1, "a.txt", lambda path: path.write_bytes(b"right"), read)
    monkeypatch.setitem(fuzz.KINDS, "text", kind)
    fuzz.undamaged.cache_clear()
    end = fuzz.tried(fuzz.Case("text", "other file", (0, 0)), tmp_path)
    assert end.outcome == "defect" and words in end.words, end


def test_a_sentence_and_a_result_that_a_check_explains_are_none(tmp_path, monkeypatch):
    said = fuzz.Kind(1, "a.txt", lambda path: path.write_bytes(b"right"), raising(ValueError("a.txt is broken")))
    right = fuzz.Kind(1, "a.txt", said.make, Path.read_bytes, lambda path, found, _: found == path.read_bytes())
    for kind, outcome in ((said, "sentence"), (right, "right")):
        monkeypatch.setitem(fuzz.KINDS, "text", kind)
        fuzz.undamaged.cache_clear()
        (tmp_path / outcome).mkdir()
        assert fuzz.tried(fuzz.Case("text", "empty", (0, 0)), tmp_path / outcome).outcome == outcome


def test_the_table_counts_kinds_by_outcomes_and_a_defect_fails_the_command(monkeypatch, capsys):
    monkeypatch.setitem(
        fuzz.KINDS, "png", fuzz.Kind(2, "a.txt", lambda path: path.write_bytes(b"right"), Path.read_bytes)
    )
    fuzz.undamaged.cache_clear()
    assert fuzz.main(["png"]) == 1
    printed = capsys.readouterr().out
    assert "defect: png, truncated, seed" in printed
    assert printed.splitlines()[-1].split() == ["all", "0", "0", "0", "2", "2"]
    fuzz.undamaged.cache_clear()
