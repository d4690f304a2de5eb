"""What a caller may take: memory, downloads, tokens, documents at a time, and the size of a request."""
