"""Sorted Parquet files, the work folders of running loads, and the DuckDB session that sorts."""
