"""Access: organizations, the channels that they may read, API keys, and the callers of requests."""
