"""The methods that DeFusionNet is compared with: each has a file, and an entry in `BASELINES`.

A classical method is its function `detect(image, progress=False)`: it takes uint8, RGB (H, W, 3) or grey (H, W), and
returns the defocus map, float32 (H, W) in [0, 1], 1 = blurred. A network is a `Deep`, which is trained first.
"""

from collections.abc import Callable

from defusion_lib.baselines.classical import dbdf, hifst, jnb, ksfv, lbp, ss
from defusion_lib.baselines.deep import EVALUATIONS, Budget, Deep, dhde, dmenet, timed
from defusion_lib.baselines.deep.btbnet import BTBNet
from defusion_lib.baselines.deep.dbm import DBM
from defusion_lib.baselines.deep.dhde import DHDE
from defusion_lib.baselines.deep.dmenet import DMENet
from defusion_lib.network import DeFusionNet

# A patience that never ends a training: the loss of smaller images does not show what larger ones will bring. The
# default ended the first trainings of DBM and CVPR 2019 where their images became larger, and none of the other two.
TO_THE_END = EVALUATIONS
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
            # In single precision: the network is too small to gain from another one.
            # The lowest error on held-out photos comes early, so learning is slow enough to evaluate it in time.
            "cpu": timed(
                (1, 32, 512, 0.0926), evaluation=0.34, preparation=366, size=27, precision="fp32", learning_rate=1e-4
            ),
            "paper": Budget(((20_000, 8, 64),), 27),
        },
    ),
    "hifst": hifst.detect,
    "dbm": Deep(
        DBM, budgets={"cpu": timed((0.5, 160, 8, 0.787), (0.5, 224, 8, 1.41), evaluation=4.1, patience=TO_THE_END)}
    ),
    "dmenet": Deep(
        DMENet, dmenet.TASK, budgets={"cpu": timed((0.5, 160, 4, 1.59), (0.5, 224, 4, 2.80), evaluation=12.3)}
    ),
    "btbnet": Deep(
        BTBNet,
        budgets={
            "quick": Budget(((4, 48, 2),), 48),
            # Windows of 64 pixels from photos of 256: whole photos of 64 pixels do not show blur any more, and larger
            # ones are too slow. (DBM after 400 such iterations, held-out AUC: whole .67, of 160 .83, of 224 .91.)
            # VGG-16 is frozen: an iteration takes a third of the time, and the held-out loss fell further in less time.
            # (2.41 seconds are the 7.05 of a trained VGG-16, times this ratio as measured on another processor.)
            "cpu": timed(
                (1, 64, 4, 2.41),
                evaluation=32,
                frozen_blocks=5,
                size=256,
                learning_rate=1e-3,
                scales=(4.0,),
                augmentation=("turn", "tone"),
            ),
            "paper": Budget(((10_000, 320, 1),), 320),
        },
    ),
    "cvpr19": Deep(
        DeFusionNet,
        config={"cam": "off", "fam": False},
        budgets={"cpu": timed((0.5, 160, 4, 1.21), (0.5, 224, 4, 2.24), evaluation=10.8, patience=TO_THE_END)},
    ),
}
CLASSICAL = {name: method for name, method in BASELINES.items() if not isinstance(method, Deep)}
DEEP = {name: method for name, method in BASELINES.items() if isinstance(method, Deep)}
