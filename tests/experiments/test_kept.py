"""What is kept of a network: read again while it would be made in the same way, and named where it is damaged."""

import numpy as np
import pytest

from defusion_lib.experiments import kept

MADE = {"recipe": {"seed": 3}, "code_sha256": "a"}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "results/one.npz"
    kept.write(path, {"made": MADE, "scores": {"mae": 0.25}}, {"loss": np.arange(3.0)})
    return path


def test_words_and_arrays_are_read_as_they_were_written(file):
    found = kept.read_alike(file, MADE)
    assert found["scores"] == {"mae": 0.25} and found["made"] == MADE
    assert found["loss"].tolist() == [0, 1, 2]


def test_a_file_that_was_made_in_another_way_is_not_used(file, capsys):
    assert kept.read_alike(file, MADE | {"recipe": {"seed": 4}}) is None
    assert "made in another way (seed=3 instead of 4), so this network is trained" in capsys.readouterr().out
    assert kept.read_alike(file, MADE | {"code_sha256": "b"}) is None
    assert kept.read_alike(file.with_name("two.npz"), MADE) is None


@pytest.mark.parametrize("content", [b"", b"PK" * 50, None], ids=["empty", "no archive", "cut off"])
def test_a_damaged_file_is_named(file, content):
    file.write_bytes(file.read_bytes()[:200] if content is None else content)
    with pytest.raises(ValueError, match=r"one.npz is damaged \(.*: restore it, or delete it to train and test"):
        kept.read_alike(file, MADE)


def test_the_code_of_scores_is_that_of_the_network_the_metrics_and_the_named_modules(monkeypatch):
    btbnet = "defusion_lib.baselines.deep.btbnet"
    plain, more = kept.code_sha256(), kept.code_sha256(btbnet)
    bare = kept.bare_code

    def after_an_edit(part):
        monkeypatch.setattr(kept, "bare_code", lambda source: bare(source) + "x" * (part in source))
        return kept.code_sha256(), kept.code_sha256(btbnet)

    changed = after_an_edit("class BTBNet")
    assert changed[0] == plain and changed[1] != more
    assert after_an_edit("class Evaluation")[0] != plain
    assert after_an_edit("def write_atomically") == (plain, more)
