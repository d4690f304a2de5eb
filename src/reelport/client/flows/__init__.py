"""Flows: ask, wait, download as generators that do no I/O themselves."""
