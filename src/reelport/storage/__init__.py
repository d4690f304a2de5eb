"""Where files lie: durable writes, file permissions, and errors of the operating system in plain words."""
