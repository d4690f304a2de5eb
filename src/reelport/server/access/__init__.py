"""Access: organizations and their channels, API keys and tokens, users and sessions, the audit log."""
