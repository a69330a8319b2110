"""The figure of Tables 1 to 3 shows each claim's published number and status."""

from dataclasses import replace

import numpy as np
import pytest

from defusion_lib.paper import claims, tables
from defusion_lib.paper.status_tables import status_tables

RECORDS = claims.load()


@pytest.mark.slow
@pytest.mark.parametrize(("group", "table"), [("table-1", tables.TABLE_1), ("table-3", tables.TABLE_3)])
def test_cells_have_the_published_number_and_the_status(group, table):
    arrays, assigned = status_tables(RECORDS).arrays, claims.assigned(RECORDS)
    methods = list(dict.fromkeys(method for _, _, method in table))
    columns = [(dataset, metric) for dataset in tables.DATASETS for metric in tables.METRICS]
    for (dataset, metric, method), value in table.items():
        cell = methods.index(method), columns.index((dataset, metric))
        np.testing.assert_equal(arrays[f"{group}_published"][cell], np.nan if value is None else value)
        status = claims.STATUSES[arrays[f"{group}_status"][cell]]
        assert status == assigned[f"{group}/{dataset}/{metric}/{method}"].status


@pytest.mark.slow
def test_a_changed_status_changes_one_cell():
    name = "table-2/dut/mae/defusionnet"
    split = [
        replace(record, claims=tuple(c for c in claims.claims() if record.covers(c) and c != name))
        for record in RECORDS
    ]
    changed = [*split, replace(claims.assigned(RECORDS)[name], claims=(name,), status="not attempted")]
    before, after = (status_tables(records).arrays["table-2_status"] for records in (RECORDS, changed))
    assert (before != after).sum() == 1 and after.max() == claims.STATUSES.index("not attempted")


@pytest.mark.slow
def test_its_texts_are_the_published_numbers():
    figure = status_tables(RECORDS).figure
    texts = [text.get_text() for text in figure.axes[0].texts]
    published = [value for value in tables.TABLE_1.values() if value is not None]
    assert sorted(text for text in texts if text) == sorted(f"{value:.3f}" for value in published)
