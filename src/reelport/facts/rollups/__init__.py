"""Rollups as files: definitions, segments, and the data files behind their days."""
