"""Change and maintain tables: load, preview, replace, undo, compact, vacuum, verify."""
