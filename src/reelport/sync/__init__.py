"""Keep a local copy of reports right: named specs, brought up to date in a DuckDB file or a Parquet folder."""
