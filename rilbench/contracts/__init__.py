"""The contracts between the engine and plugins, their settings, results, hooks and errors."""
