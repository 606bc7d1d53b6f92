"""Finished runs compared: one table, one definition of every quantity and test."""
