"""`rilbench runs`."""
