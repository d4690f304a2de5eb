"""Charts: values in, SVG text out, for files and for pages."""
