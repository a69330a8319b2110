"""Costs are counted as formulas of the layers say, times by a clock that works share, memory as it was taken."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from defusion_lib.experiments import efficiency
from defusion_lib.experiments.efficiency import (
    ALLOCATOR,
    PARTS,
    Cost,
    costs,
    rise,
    timed,
    training_iteration,
    trial,
)
from defusion_lib.network import DeFusionNet
from defusion_lib.training import Recipe

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]


def on_meta(**switches):
    with torch.device("meta"):
        return DeFusionNet(**switches)


def by_hand(heads, steps, width, height):
    """The cost of each part from the layer list of the paper and of RADF, one formula a layer."""
    width, height = -(-width // 32) * 32, -(-height // 32) * 32
    full = width * height
    macs, parameters = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)

    def convolution(part, pixels, inside, outside, kernel):
        macs[part] += pixels * inside * outside * kernel * kernel
        parameters[part] += inside * outside * kernel * kernel + outside

    vgg = [
        (3, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 2), (128, 256, 4), (256, 256, 4), (256, 256, 4),
        (256, 512, 8), (512, 512, 8), (512, 512, 8), (512, 512, 16), (512, 512, 16), (512, 512, 16),
    ]  # fmt: skip
    for inside, outside, shrunk in vgg:
        convolution("backbone", full // shrunk**2, inside, outside, 3)
    widths = {"radf": (128, 128, 256, 256, 512, 512), "compact": (32, 64, 128, 128, 128, 128)}[heads]
    kernels = {"radf": (3, 3, 5, 5, 5, 7), "compact": (3, 3, 3, 3, 3, 3)}[heads]
    for tap, wide, kernel, shrunk in zip((64, 128, 256, 512, 512, 512), widths, kernels, (1, 2, 4, 8, 16, 32)):
        convolution("heads", full // shrunk**2, tap, wide, kernel)
        convolution("heads", full // shrunk**2, wide, wide, kernel)
        convolution("heads", full // shrunk**2, wide, 32, 1)
    for _ in range(steps):
        for _ in ("FSHF", "FSEF"):
            # 96 -> 6 once for the mean and once for the maximum, which share weights; 6 -> 96; no biases.
            macs["CAM and fuse"] += 2 * 96 * 6 + 6 * 96
            parameters["CAM and fuse"] += 96 * 6 + 6 * 96
            convolution("CAM and fuse", full, 96, 16, 1)
            convolution("FAM", full, 16, 16, 3)
            convolution("FAM", full, 16, 16, 3)
        for _ in range(6):
            convolution("refine", full, 32 + 16, 32, 3)
            convolution("score and final", full, 32, 1, 1)
    # The final fusion sees maps that were cut to the photograph's own size.
    return macs, parameters


@pytest.mark.parametrize(
    ("heads", "steps", "width", "height"),
    [("radf", 3, 320, 320), ("compact", 3, 320, 320), ("compact", 1, 96, 64), ("radf", 6, 640, 427)],
)
def test_costs_are_those_of_the_layer_formulas(heads, steps, width, height):
    macs, parameters = by_hand(heads, steps, width, height)
    macs["score and final"] += width * height * 6
    parameters["score and final"] += 6 + 1
    expected = {part: Cost(macs[part], parameters[part]) for part in PARTS}
    assert costs(on_meta(heads=heads, steps=steps), width, height) == expected


def test_the_reference_costs_128_gmac_and_has_62_million_parameters():
    of = costs(on_meta(), 320, 320).values()
    assert round(sum(cost.macs for cost in of) / 1e9, 2) == 128.08
    assert round(sum(cost.parameters for cost in of) / 1e6, 2) == 62.58


@pytest.mark.parametrize("switches", [{"ffrm": False}, {"cam": "gap", "output": "o3"}, {"fam": False, "cam": "off"}])
def test_ablations_cost_what_torch_counts(switches):
    network = on_meta(heads="compact", steps=2, **switches)
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        network(torch.empty(1, 3, 64, 64, device="meta"))
    found = costs(network, 64, 64).values()
    assert 2 * sum(cost.macs for cost in found) == counter.get_total_flops()
    assert sum(cost.parameters for cost in found) == sum(parameter.numel() for parameter in network.parameters())


def test_counting_leaves_no_hook_behind():
    network = on_meta(heads="compact", steps=1)
    costs(network, 32, 32)
    assert not any(module._forward_hooks for module in network.modules())


def test_works_take_turns_and_the_first_call_stands_apart(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(efficiency.time, "perf_counter", lambda: clock[0])
    durations = {"a": iter([9, 1, 2, 4, 8, 16]), "b": iter([7, 5, 5, 5, 5, 5])}

    def work(name):
        calls.append(name)
        clock[0] += next(durations[name])

    found = timed({name: lambda name=name: work(name) for name in "ab"}, 5, CPU)
    assert "".join(calls) == "ab" * 6
    assert found["a"].first == 9 and list(found["a"].seconds) == [1, 2, 4, 8, 16]
    assert list(found["a"].quartiles) == [2, 4, 8]  # of five numbers: the second, third and fourth
    assert found["b"].first == 7 and list(found["b"].quartiles) == [5, 5, 5]


def test_a_training_iteration_is_one_step_of_the_papers_recipe():
    torch.manual_seed(0)
    network = DeFusionNet("compact", steps=1)
    twin = copy.deepcopy(network)
    torch.manual_seed(1)
    training_iteration(network, 32, 2)()
    torch.manual_seed(1)
    photo, mask = torch.rand(2, 3, 32, 32), torch.randint(2, (2, 1, 32, 32)).float()
    maps = twin(photo)
    # Eq. 9 as written, -y log p - (1 - y) log(1 - p), for six sides and the final map (Eq. 10).
    probabilities = [torch.sigmoid(logits) for logits in (*maps.sides, maps.final)]
    loss = sum(-torch.where(mask == 1, p, 1 - p).log().mean() for p in probabilities)
    loss.backward()
    recipe = Recipe()
    for name, parameter in twin.named_parameters():
        rate = recipe.learning_rate * (0.1 if ".score." in name or name.startswith("final") else 1)
        rate *= 2 if name.endswith("bias") else 1
        step = (dict(network.named_parameters())[name] - parameter).detach()
        # Adding a step to a number leaves it rounded to that number's last digit; decay is 4.9e-9 of it.
        rounding = 1e-6 * max(1, parameter.detach().abs().max())
        torch.testing.assert_close(step, -rate * parameter.grad, rtol=1e-3, atol=float(rounding))
    assert network.training and network.final.weight.grad is not None


RISE = """
import torch
from defusion_lib.experiments.efficiency import rise
print(rise(lambda: bytearray(b"1") * (300 * 2**20), torch.device("cpu")))
"""


def test_memory_is_what_a_call_took_even_where_the_parent_holds_more():
    if efficiency._level("VmHWM") is None:
        pytest.skip("the highest level of a process can be read on Linux only")
    held = np.ones(800 * 2**20 // 8)
    done = subprocess.run([sys.executable, "-c", RISE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert held.sum() == held.size
    # Python's own pages for the call are far below one MiB; Linux counts in batches of pages.
    assert float(done.stdout) == pytest.approx(300, abs=3)


def test_memory_that_cannot_be_read_is_none(monkeypatch):
    monkeypatch.setattr(efficiency, "_level", lambda name: None)
    assert rise(lambda: None, CPU) is None


def test_a_trial_holds_the_weights_and_in_training_their_gradients_and_momentum():
    weights = sum(p.numel() for p in on_meta(heads="compact").parameters()) * 4 / 2**20
    detection, training = trial("compact", 32, CPU), trial("compact", 32, CPU, batch=1)
    for found in (detection, training):
        assert found.first > 0 and found.seconds > 0
    if detection.mib is None:
        pytest.skip("the highest level of a process can be read on Linux only")
    # Maps of 32 x 32 pixels are small beside the weights. Room is left for copies of weights in the order that
    # convolutions like, and for pages of freed gradients; the libraries, 220 MiB and more, would not fit.
    assert weights < detection.mib < 2 * weights
    assert 3 * weights < training.mib < 6 * weights


def test_a_trial_that_fails_says_why():
    with pytest.raises(RuntimeError, match="heads='huge' does not exist"):
        trial("huge", 32, CPU)


def exported():
    return dict(re.findall(r"^export (MALLOC_\w+) := (\d+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_allocator_setting_is_the_makefiles():
    assert exported() == ALLOCATOR


@pytest.mark.parametrize("allocator", [True, False])
def test_a_trial_has_the_allocator_setting_or_none(monkeypatch, allocator):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    monkeypatch.setenv("OTHER", "kept")
    seen = {}

    def run(command, env, **how):
        seen.update(env)
        answer = '{"first": 2, "seconds": 1, "mib": null}'
        return subprocess.CompletedProcess(command, 0, f"said before\n{answer}\n", "")

    monkeypatch.setattr(efficiency.subprocess, "run", run)
    assert trial("compact", 32, CPU, allocator=allocator) == (2, 1, None)
    assert {key: value for key, value in seen.items() if key.startswith("MALLOC_")} == (exported() if allocator else {})
    assert seen["OTHER"] == "kept"
