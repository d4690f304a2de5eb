"""The command line `reelport`: one function for each command, no logic of its own."""
