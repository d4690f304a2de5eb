"""A mapping to start from: guesses which column of an export is which of a table."""
