"""Charts: values in, SVG text out, for files and for pages; no input or output of its own."""
