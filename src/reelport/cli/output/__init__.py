"""What commands print: tables, CSV, JSON, progress, and text that is safe on a terminal."""
