"""`rilbench report`: one HTML file about many runs, for somebody who was not there."""

from rilbench_report.page import write_report

__all__ = ["write_report"]
