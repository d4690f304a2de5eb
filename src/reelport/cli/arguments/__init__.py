"""What commands take: shared options, names to complete, errors in what was given."""
