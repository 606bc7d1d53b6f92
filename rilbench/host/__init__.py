"""The plugin host: which plugins are installed and active, and what happens if one is broken."""
