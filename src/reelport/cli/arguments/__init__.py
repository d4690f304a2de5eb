"""What commands take: shared options, names that a shell completes, and errors in what was given."""
