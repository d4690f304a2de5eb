"""Sorted Parquet files, work folders of running loads, the DuckDB session that sorts."""
