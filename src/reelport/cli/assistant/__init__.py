"""What assistants call: a server of the Model Context Protocol, and short summaries."""
