"""Sorted Parquet files of a table, the folders that they are made in, and the engine that sorts them."""
