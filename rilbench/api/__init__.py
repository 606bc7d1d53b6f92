"""rilbench from Python; its names are those of `rilbench` itself."""

from rilbench.api import plot as plot
