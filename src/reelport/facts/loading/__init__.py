"""Changes of tables: load, replace, undo, compact, vacuum, verify."""
