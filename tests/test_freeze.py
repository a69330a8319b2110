"""Lists become tuples at every depth, and nothing else changes."""

from defusion_lib.freeze import freeze


def test_lists_become_tuples_at_every_depth():
    assert freeze([1, [2, (3, [4])], "ab"]) == (1, (2, (3, (4,))), "ab")
    assert freeze("ab") == "ab" and freeze(None) is None and freeze(()) == ()
