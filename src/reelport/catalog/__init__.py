"""The heart: what can be asked, as data, for both ends."""
