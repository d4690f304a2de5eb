"""How much a platform of some size needs, on paper, and a simulation and a real service that check it."""
