"""What maintains the project: batch execution, README, checks, benchmarks. No notebook imports it."""
