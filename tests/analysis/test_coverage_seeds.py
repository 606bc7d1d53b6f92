"""Every interval that compare and report print contains the true value in 93 to 97 % of simulated studies."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from checkout import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
from coverage_seeds import BATCH, LIMITS, NODES, ORDERS, PATHS, Case, coverage, studies


@pytest.mark.slow
def test_every_interval_has_its_coverage() -> None:
    found = pd.Series(coverage(BATCH, Case(), 1))
    printed = found[~found.index.str.startswith("(")]
    assert len(printed) == 10
    assert printed[(printed < LIMITS[0]) | (printed > LIMITS[1])].to_dict() == {}
    assert found["(prompts as the unit) difference"] < 0.6  # other ways to count: this test can fail
    assert found["(runs as the unit) mean, one model a seed"] < 0.6


def test_orders_with_a_common_beginning_share_stages() -> None:
    assert (len(NODES), len(ORDERS)) == (15, 6)
    assert [len(set(column)) for column in PATHS.T] == [3, 6, 6]
    ((after, final),) = studies(20, Case(), np.random.default_rng(0), same_prompts=False)
    assert final.shape == (20, 3, 5, 6, 50)
    assert np.allclose(final.mean(-1), after[..., PATHS[:, -1]])
    assert np.ptp(final[:, 2], axis=2).max() == 0  # joint: one model per seed
    last, before = (after[:, 0, :, NODES.index(node)].ravel() for node in (("a", "h", "c"), ("a", "h")))
    other = after[:, 0, :, NODES.index(("h", "a"))].ravel()
    assert np.corrcoef(last, before)[0, 1] > 0.4 > abs(np.corrcoef(last, other)[0, 1])
