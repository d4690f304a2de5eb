"""A table's Delta log: read it, commit to it, check it, pin a snapshot of it."""
