"""The methods that DeFusionNet is compared with: each has a file, and an entry in `BASELINES`.

A classical method is its function `detect(image, progress=False)`: it takes uint8, RGB (H, W, 3) or grey (H, W), and
returns the defocus map, float32 (H, W) in [0, 1], 1 = blurred. A network is a `Deep`, which is trained first.
"""

from collections.abc import Callable

from defusion_lib.baselines.classical import dbdf, hifst, jnb, ksfv, lbp, ss
from defusion_lib.baselines.deep import Budget, Deep, dhde, dmenet
from defusion_lib.baselines.deep.btbnet import BTBNet
from defusion_lib.baselines.deep.dbm import DBM
from defusion_lib.baselines.deep.dhde import DHDE
from defusion_lib.baselines.deep.dmenet import DMENet
from defusion_lib.network import DeFusionNet

# In the order of Table 1. The stages of DHDE count patches: (iterations, patches per photo and sigma, batch size).
BASELINES: dict[str, Callable | Deep] = {
    "jnb": jnb.detect,
    "dbdf": dbdf.detect,
    "ss": ss.detect,
    "lbp": lbp.detect,
    "ksfv": ksfv.detect,
    "dhde": Deep(
        DHDE,
        dhde.TASK,
        detect=dhde.detect,
        budgets={
            "quick": Budget(((60, 8, 32),), 27),
            "cpu": Budget(((8000, 32, 64),), 27),
            "paper": Budget(((20_000, 8, 64),), 27),
        },
    ),
    "hifst": hifst.detect,
    "dbm": Deep(DBM),
    "dmenet": Deep(DMENet, dmenet.TASK),
    "btbnet": Deep(
        BTBNet,
        budgets={
            "quick": Budget(((4, 48, 2),), 48),
            "cpu": Budget(((60, 64, 4),), 96),
            "paper": Budget(((10_000, 320, 1),), 320),
        },
    ),
    "cvpr19": Deep(DeFusionNet, config={"cam": "off", "fam": False}),
}
CLASSICAL = {name: method for name, method in BASELINES.items() if not isinstance(method, Deep)}
DEEP = {name: method for name, method in BASELINES.items() if isinstance(method, Deep)}
