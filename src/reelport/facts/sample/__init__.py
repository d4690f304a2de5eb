"""Sample facts: a believable world, drawn the same way every time."""
