"""Input of a load: files and formats, mappings, the check of each row, rejects."""
