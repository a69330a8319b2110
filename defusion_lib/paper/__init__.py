"""The paper's numbers, its claims, and their status."""
