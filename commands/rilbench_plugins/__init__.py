"""`rilbench plugins`."""
