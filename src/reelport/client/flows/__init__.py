"""Flows: ask, wait and download, as generators that do no I/O themselves."""
