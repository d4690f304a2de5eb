"""How the state database came to be, step by step; each step is a file in `versions`."""
