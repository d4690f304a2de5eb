"""A table's Delta log: read, written, checked, pinned."""
