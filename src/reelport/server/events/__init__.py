"""Events: how the processes of an installation tell each other what has happened."""
