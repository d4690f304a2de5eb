"""Measurements of Reelport beside what it is built on and what people use instead; outside the tests."""
