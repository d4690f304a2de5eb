"""A report as typed rows, Arrow, Polars, pandas or Parquet: exact, and nothing guessed."""
