"""`reelport doctor`: what is looked at on a machine and in a data directory."""
