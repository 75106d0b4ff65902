"""Damaged files: the quick form of `make fuzz`."""

import pytest

from .fuzz import fuzz


def test_damaged_files_are_refused_in_one_line_or_read_as_other_libraries_read_them():
    report = fuzz(900, seed=1)
    assert report.faults == []
    assert report.counts["read"] > 150, "too much damage tests nothing else"
    assert report.counts["refused"] > 450


@pytest.mark.slow
def test_many_damaged_files():
    report = fuzz(12000)
    assert report.faults == []
    assert report.counts.total() > 14000
