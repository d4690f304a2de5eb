"""Bar charts of a report, in the terminal or as a picture."""
