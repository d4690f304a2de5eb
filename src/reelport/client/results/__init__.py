"""Read a report as rows, Arrow, Polars, pandas or Parquet: exact, typed by the catalog."""
