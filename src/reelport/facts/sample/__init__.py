"""Sample facts: realistic random data that is the same for the same seed."""
