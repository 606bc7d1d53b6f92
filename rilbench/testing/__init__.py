"""A conformance kit for plugins: run every demand of the contract against a reward, a metric or a strategy.

    from rilbench.testing import parametrize_with_checks

    @parametrize_with_checks(MyReward)
    def test_my_reward(check):
        check()

`check_component` returns the same as a list of results, without pytest. torch and pytest are imported when
needed.
"""

from rilbench.testing.report import CheckResult, summary
from rilbench.testing.runner import check_component, checks_for, parametrize_with_checks

__all__ = ["CheckResult", "check_component", "checks_for", "parametrize_with_checks", "summary"]
