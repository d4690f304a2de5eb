"""Backups: an archive of the state, the tables and the finished reports, and their return."""
