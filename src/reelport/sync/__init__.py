"""Sync: keep local copies of reports up to date, in a DuckDB file or a Parquet folder."""
