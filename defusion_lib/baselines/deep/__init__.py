"""The compared networks of Table 1, each in a file of its own."""
