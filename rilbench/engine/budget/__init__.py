"""Whether a run fits into memory, checked before it starts."""
