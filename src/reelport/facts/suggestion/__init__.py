"""Suggest a mapping: guess which column of an export is which column of a table."""
