"""The classical methods of Table 1, one file each."""
