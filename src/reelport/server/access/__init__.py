"""Access: organizations, channels they may read, API keys, callers of requests."""
