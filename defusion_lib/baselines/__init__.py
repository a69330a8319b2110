"""The compared methods of Table 1 that are no networks, each in a file of its own."""

from defusion_lib.baselines.classical import dbdf, hifst, jnb, ksfv, lbp, ss

# In the order of Table 1. Each is called as detect(image, progress=False) -> map, float32 (H, W), 1 = blurred.
METHODS = {
    "jnb": jnb.detect,
    "dbdf": dbdf.detect,
    "ss": ss.detect,
    "lbp": lbp.detect,
    "ksfv": ksfv.detect,
    "hifst": hifst.detect,
}
