"""Maintain the project: batch execution, README, checks, benchmarks. No notebook imports this package."""
