"""Access: organizations, the channels that they may read, their keys, and who calls with one."""
