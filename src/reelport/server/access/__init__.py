"""Access: organizations, channels, API keys, tokens, users, sessions, the audit log."""
