"""A run from configuration to result."""
