"""Rollups: their columns, how they are built, which days a report reads from them."""
