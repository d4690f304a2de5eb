"""What comes in: files, formats, mappings, the judgement of each row, and rejects."""
