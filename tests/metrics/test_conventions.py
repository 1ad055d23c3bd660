"""The table of conventions speaks of metrics and sources that exist."""

import pytest

from collapselab import metrics
from collapselab.core.cite import references


@pytest.mark.parametrize("convention", metrics.CONVENTIONS, ids=lambda c: f"{c.paper}:{c.quantity}")
def test_convention(convention):
    assert convention.metric in metrics.REGISTRY
    assert convention.paper in references()
    assert convention.quantity
    assert convention.remark
    assert not convention.remark.endswith(".")


def test_no_paper_says_two_things_by_one_name():
    said = [(c.paper, c.quantity) for c in metrics.CONVENTIONS]
    assert len(said) == len(set(said))


def test_papers_that_a_reader_looks_for():
    wanted = "papyan2020 zhu2021 han2022 tirer2022 galanti2021 wu2024 kornblith2021 xu2023 he2023 jiang2023"
    assert set(wanted.split()) <= {c.paper for c in metrics.CONVENTIONS}
