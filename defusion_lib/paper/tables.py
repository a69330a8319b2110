"""Every number that the paper reports, as data.

Tang et al., "DeFusionNET: Defocus Blur Detection via Recurrently Fusing and Refining Discriminative
Multi-scale Deep Features", IEEE TPAMI 2020. The tables are keyed by (data set, metric, method): "shi", "dut"
or "ctcug"; "f", "mae" or "auc"; methods as in the result files. Which F-measure and which AUC these are the
paper does not say: `defusion_lib.evaluation.protocols` has the candidates.
"""

from typing import NamedTuple

DATASETS = ("shi", "dut", "ctcug")
METRICS = ("f", "mae", "auc")

# In the order of Table 1, with their names in the paper.
METHODS = {
    "jnb": "JNB",
    "dbdf": "DBDF",
    "ss": "SS",
    "lbp": "LBP",
    "ksfv": "KSFV",
    "dhde": "DHDE",
    "hifst": "HiFST",
    "dbm": "DBM",
    "dmenet": "DMENet",
    "btbnet": "BTBNet",
    "cvpr19": "CVPR19",
    "defusionnet": "DeFusionNet",
}
# The networks of Table 2 and of Figures 13 and 14 that lack a part.
VARIANTS = {
    "nocam+nofam": "CVPR19",
    "noffrm": "woFFRM",
    "nocam": "wFAMwoCAM",
    "nofam": "wCAMwoFAM",
    "nogap": "noGAP",
    "nogmp": "noGMP",
}

_ROWS_1 = {
    ("shi", "f"): (0.797, 0.841, 0.787, 0.866, 0.733, 0.850, 0.856, 0.917, 0.914, 0.892, 0.917, 0.925),
    ("shi", "mae"): (0.355, 0.323, 0.298, 0.186, 0.380, 0.390, 0.232, 0.155, 0.343, 0.105, 0.116, 0.102),
    ("shi", "auc"): (0.594, 0.594, 0.613, 0.603, 0.541, 0.613, 0.619, 0.638, 0.637, 0.831, 0.836, 0.844),
    ("dut", "f"): (0.748, 0.802, 0.784, 0.874, 0.751, 0.823, 0.866, 0.782, 0.932, 0.887, 0.922, 0.952),
    ("dut", "mae"): (0.424, 0.369, 0.296, 0.173, 0.399, 0.408, 0.302, 0.279, 0.314, 0.190, 0.115, 0.082),
    ("dut", "auc"): (0.547, 0.573, 0.607, 0.599, 0.547, 0.592, 0.605, 0.564, 0.635, 0.616, 0.632, 0.643),
    ("ctcug", "f"): (0.724, 0.740, 0.741, 0.805, 0.607, 0.811, 0.785, 0.832, 0.845, 0.827, 0.891, 0.899),
    ("ctcug", "mae"): (0.347, 0.344, 0.302, 0.242, 0.461, 0.307, 0.267, 0.209, 0.301, 0.177, 0.138, 0.127),
    ("ctcug", "auc"): (0.648, 0.626, 0.664, 0.653, 0.573, 0.680, 0.657, 0.678, 0.694, 0.672, 0.693, 0.705),
}

# F, MAE, AUC on Shi's set, then on DUT, then on CTCUG.
_ROWS_2 = {
    "defusionnet+noffrm": (0.909, 0.152, 0.830, 0.904, 0.126, 0.631, 0.876, 0.155, 0.676),
    "cvpr19": (0.917, 0.116, 0.836, 0.922, 0.115, 0.632, 0.891, 0.138, 0.689),
    "defusionnet+nocam": (0.921, 0.110, 0.840, 0.931, 0.106, 0.637, 0.894, 0.132, 0.695),
    "defusionnet+nofam": (0.922, 0.105, 0.842, 0.943, 0.096, 0.640, 0.896, 0.122, 0.699),
    "defusionnet+o1": (0.913, 0.115, 0.828, 0.932, 0.114, 0.631, 0.894, 0.133, 0.688),
    "defusionnet+o2": (0.916, 0.116, 0.829, 0.927, 0.113, 0.635, 0.895, 0.135, 0.688),
    "defusionnet+o3": (0.917, 0.116, 0.831, 0.928, 0.114, 0.636, 0.893, 0.132, 0.689),
    "defusionnet+o4": (0.918, 0.122, 0.833, 0.934, 0.121, 0.638, 0.892, 0.131, 0.687),
    "defusionnet+o5": (0.917, 0.114, 0.829, 0.933, 0.112, 0.632, 0.896, 0.132, 0.693),
    "defusionnet+o6": (0.916, 0.110, 0.834, 0.938, 0.110, 0.637, 0.895, 0.130, 0.694),
    "defusionnet": (0.925, 0.102, 0.844, 0.952, 0.082, 0.643, 0.899, 0.127, 0.705),
}

_ROWS_3 = {
    "defusionnet+step1": (0.716, 0.235, 0.772, 0.872, 0.202, 0.585, 0.785, 0.224, 0.621),
    "defusionnet+step2": (0.899, 0.121, 0.820, None, None, None, 0.859, 0.176, 0.676),
    "defusionnet+step3": (0.925, 0.102, 0.844, 0.952, 0.082, 0.643, 0.899, 0.127, 0.705),
    "defusionnet+step4": (0.925, 0.101, 0.845, 0.952, 0.081, 0.644, 0.899, 0.125, 0.706),
    "defusionnet+step5": (0.926, 0.100, 0.845, 0.954, 0.081, 0.645, 0.901, 0.125, 0.706),
    "defusionnet+step6": (0.926, 0.100, 0.846, 0.954, 0.080, 0.645, 0.901, 0.125, 0.707),
}

_COLUMNS = [(dataset, metric) for dataset in DATASETS for metric in METRICS]

# Table 1: twelve methods on three data sets.
TABLE_1 = {(*row, method): value for row, cells in _ROWS_1.items() for method, value in zip(METHODS, cells)}

# Table 2: ablations. In the paper: woFFRM, wFAMwoCAM (+nocam), wCAMwoFAM (+nofam) and DeFusionNet_O1 .. O6.
TABLE_2 = {(*column, method): value for method, cells in _ROWS_2.items() for column, value in zip(_COLUMNS, cells)}

# Table 3: one to six recurrent steps. Step 2 on DUT could not be read in our copy of the paper: None.
TABLE_3 = {(*column, method): value for method, cells in _ROWS_3.items() for column, value in zip(_COLUMNS, cells)}


class Stated(NamedTuple):
    """A number from the running text: its value, its unit, the section, and the words around it."""

    value: float
    unit: str
    section: str
    words: str


TIMINGS = {
    "test-320x320": Stated(0.056, "seconds", "3.5", "approximately 0.056s is needed"),
    "test-shi": Stated(0.097, "seconds", "4.3", "datasets are 0.097s, 0.059s and 0.068s"),
    "test-dut": Stated(0.059, "seconds", "4.3", "datasets are 0.097s, 0.059s and 0.068s"),
    "test-ctcug": Stated(0.068, "seconds", "4.3", "datasets are 0.097s, 0.059s and 0.068s"),
    "test-btbnet": Stated(25, "seconds", "4.3", "approximately 25s is needed"),
    "training": Stated(11.7, "hours", "3.5", "completed after approximately 11.7 hours"),
    "training-btbnet": Stated(5, "days", "4.3", "nearly 5 days needed for training BTBNet"),
}

COUNTS = {
    "shi-all": Stated(1000, "images", "3.5", "consists of 1000 blurred images"),
    "shi-defocus": Stated(704, "images", "3.5", "704 of these images are partially defocus blurred"),
    "shi-motion": Stated(296, "images", "3.5", "the rest 296 ones are motion blurred"),
    "shi-train": Stated(604, "images", "3.5", "604 for training"),
    "shi-test": Stated(100, "images", "3.5", "the remaining 100 ones for testing"),
    "shi-train-augmented": Stated(9664, "images", "3.5", "enlarged to 9,664 images"),
    "dut": Stated(500, "images", "4.1", "consists of 500 images"),
    "ctcug": Stated(150, "images", "4.1", "contains 150 images"),
    "ctcug-annotators": Stated(5, "annotators", "4.1", "We invite five students to manually annotate"),
    "compared-methods": Stated(11, "methods", "4.3", "against other 11 state-of-the-art algorithms"),
    "compared-deep": Stated(5, "methods", "4.3", "including 5 deep learning-based methods"),
    "compared-classic": Stated(6, "methods", "4.3", "and 6 classic defocus blur detection methods"),
}

SETTINGS = {
    "n": Stated(6, "taps", "3.5", "n = 6 in DeFusionNET"),
    "m": Stated(3, "shallow taps", "3.5", "m = 3"),
    "t": Stated(3, "steps", "4.4", "we empirically set 3 times of recurrent step"),
    "appended-convolutions": Stated(2, "layers a tap", "3.5", "two more convolutional layers are appended"),
    "loss-weight": Stated(1, "", "3.5", "we empirically set all the weights to 1"),
    "momentum": Stated(0.9, "", "3.5", "the momentum of 0.9"),
    "weight-decay": Stated(0.0005, "", "3.5", "the weight decay of 0.0005"),
    "learning-rate": Stated(1e-8, "on the summed loss", "3.5", "initially set to 1e-8"),
    "learning-rate-factor": Stated(0.1, "", "3.5", "reduced by a factor of 0.1"),
    "learning-rate-drop": Stated(5000, "iterations", "3.5", "at 5k iterations"),
    "batch": Stated(4, "images", "3.5", "batch size is set to 4"),
    "iterations": Stated(10000, "iterations", "3.5", "stops after 10k iterations"),
    "stable-after": Stated(9000, "iterations", "4.3", "goes stable after about 9000 iterations"),
    "test-size": Stated(320, "pixels a side", "3.5", "a testing image with 320×320 pixels"),
    "beta2": Stated(0.3, "", "4.2", "is set to 0.3 to emphasize precision"),
}

# Supervised maps: six side outputs at each of three steps, and the fused one (Eq. 10).
OUTPUTS = SETTINGS["n"].value * SETTINGS["t"].value + 1

# The figures that show results; 2, 3, 5 and 6 draw the network.
FIGURES = {
    1: "maps of four methods on hard photographs",
    4: "channels of the first fusing step and the weights that CAM gives them",
    7: "photographs and masks of CTCUG",
    8: "precision-recall, F-measure and ROC curves of twelve methods on Shi's set",
    9: "the same on DUT",
    10: "the same on CTCUG",
    11: "maps of twelve methods side by side",
    12: "the training loss over 10,000 iterations",
    13: "maps with and without CAM and FAM",
    14: "maps with and without GAP and GMP",
    15: "maps after each recurrent step",
}


class PublishedResult(NamedTuple):
    """Two numbers of another paper: MAE, and F at 0.5 with blurred pixels positive."""

    mae: float
    f: float


# D-DFFNet (Jin et al., ICME 2023), its table of results on Shi's set: one program scored all these maps. The 100
# photos are those of dutlab100. Methods as in the result files where this collection has them.
D_DFFNET = {
    "dbdf": PublishedResult(0.292, 0.806),
    "lbp": PublishedResult(0.154, 0.917),
    "hifst": PublishedResult(0.223, 0.803),
    "btbnet": PublishedResult(0.110, 0.949),
    "BTBNet2 2019": PublishedResult(0.085, 0.935),
    "CENet 2019": PublishedResult(0.061, 0.945),
    "BR2Net 2020": PublishedResult(0.059, 0.966),
    "DD 2020": PublishedResult(0.045, 0.966),
    "IS2CNet 2021": PublishedResult(0.049, 0.964),
    "DFFNet 2023": PublishedResult(0.039, 0.971),
    "D-DFFNet 2023": PublishedResult(0.036, 0.973),
}
# Scored on Shi's set with the other positive class than the rest of Table 1, as notebook 05c infers.
IN_FOCUS = ("btbnet", "cvpr19", "defusionnet")


def matching_metrics(dataset: str, method: str) -> dict[str, str]:
    """Map each column of Table 1 to our metric that best explains its numbers of a method (notebook 05c).

    `dataset` is "shi", "dut" or "ctcug".
    """
    positive = "focus" if dataset == "shi" and method in IN_FOCUS else "blur"
    return {"mae": "mae", "f": f"max-f-{positive}", "auc": f"auc-paper-{positive}"}
