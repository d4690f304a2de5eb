"""The state: its database, tables and migrations, and what is counted and timed in it."""
