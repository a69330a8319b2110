"""What the first and the last cells of a notebook call: parameters checked, seeds set, results stamped.

    run = runs.start("03_training", globals(), limits={"size": (32, 1024), "heads": ("radf", "compact")})
    ...
    run.results({"synthetic/defusionnet/mae": 0.12}, data=photos)
    run.figure(figure, "loss", "The loss of each iteration, which falls.", loss=history.loss)
    run.finish()

Everything is written under `outputs/<profile>/`; the environment variable DEFUSION_OUTPUTS names another
folder instead of `outputs`. What these functions print is the same on every machine, so that stored notebook
outputs can be compared as text; what differs between machines is in the stamp.
"""

from defusion_lib.runs.run import Run, start

__all__ = ["Run", "start"]
