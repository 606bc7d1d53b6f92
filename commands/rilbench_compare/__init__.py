"""Finished runs side by side: what was reached, what was forgotten, and whether strategies differ."""
