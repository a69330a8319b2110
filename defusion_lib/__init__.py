"""A reproduction of DeFusionNET (TPAMI 2020): where is a photograph out of focus?"""

import os

# Threads of GNU's OpenMP, which torch's wheels for Linux bring, spin 300,000 times before they sleep, and take the
# cores from other work (`make bench-spin`). libgomp reads this once, when torch is first imported: set it before.
SPINCOUNT = "1000"
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", SPINCOUNT)
