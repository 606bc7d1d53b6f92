"""The plugin host: what is installed, what takes part, and what happens when a plugin is broken."""
