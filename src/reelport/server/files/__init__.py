"""Finished report files: their names, signed URLs, retention and verification."""
