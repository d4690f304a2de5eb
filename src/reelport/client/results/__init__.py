"""Read a report as typed rows, Arrow, Polars, pandas or Parquet: exactly, with types from the catalog."""
