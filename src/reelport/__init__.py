"""Reelport."""
