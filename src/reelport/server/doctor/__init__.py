"""`reelport doctor`: checks a machine and a data directory."""
