"""Where files lie: durable writes, permissions, the system's errors in plain words."""
