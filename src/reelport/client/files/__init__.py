"""A report's files on their way to disk: whole or absent, with what shows it, and taken up where they were cut."""
