"""The command line: one function a command, no logic."""
