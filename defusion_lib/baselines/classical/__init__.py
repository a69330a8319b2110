"""The compared methods of Table 1 that are no networks, each in a file of its own."""
