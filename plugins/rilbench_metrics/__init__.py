"""Metrics no reward trains on: faithfulness to the prompt, likeness to a reference set, and kept structure."""
