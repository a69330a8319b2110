"""Arithmetic is that of the layers' formulas, times are those of the clock, memory is what was allocated."""

import copy
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from defusion_lib.experiments import efficiency
from defusion_lib.experiments.efficiency import (
    ALLOCATOR,
    PARTS,
    Case,
    Cost,
    Measurement,
    benchmark,
    benchmark_cases,
    benchmark_threads,
    layer_costs,
    measure_in_subprocess,
    measure_training,
    meta_network,
    part_costs,
    peak_memory,
    total_cost,
    training_iteration,
)
from defusion_lib.network import DeFusionNet
from defusion_lib.training import Recipe

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]


def by_hand(heads, steps, width, height):
    """Compute the cost of each part from the layer list of the paper and of RADF, one formula per layer."""
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
    # The final fusion has maps that were cut to the photo's own size as its input.
    return macs, parameters


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heads", "steps", "width", "height"),
    [("radf", 3, 320, 320), ("compact", 3, 320, 320), ("compact", 1, 96, 64), ("radf", 6, 640, 427)],
)
def test_costs_are_those_of_the_layer_formulas(heads, steps, width, height):
    macs, parameters = by_hand(heads, steps, width, height)
    macs["score and final"] += width * height * 6
    parameters["score and final"] += 6 + 1
    expected = {part: Cost(macs[part], parameters[part]) for part in PARTS}
    network = meta_network(heads=heads, steps=steps)
    assert part_costs(network, width, height) == expected
    assert total_cost(network, width, height) == (sum(macs.values()), sum(parameters.values()))


def test_the_reference_costs_128_gmac_and_has_62_million_parameters():
    cost = total_cost(meta_network(), 320, 320)
    assert cost.gmac == 128.079267968
    assert round(cost.parameters / 1e6, 2) == 62.58


@pytest.mark.slow
@pytest.mark.parametrize(
    "switches", [{"ffrm": False}, {"cam": "gap", "output": "o3"}, {"fam": False, "cam": "off"}, {"fusion_stride": 4}]
)
def test_layers_cost_what_their_outputs_and_weights_say(switches):
    network = meta_network(heads="compact", steps=2, **switches)
    expected = {}

    def add(name, layer, given, made):
        macs, _ = expected.get(name, (0, 0))
        parameters = sum(parameter.numel() for parameter in layer.parameters())
        expected[name] = macs + made.numel() * layer.weight[0].numel(), parameters

    for name, layer in network.named_modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(partial(add, name))
    assert layer_costs(network, 64, 48) == expected
    assert sum(parameters for _, parameters in expected.values()) == sum(p.numel() for p in network.parameters())


def test_a_layer_that_is_called_twice_counts_twice_and_an_unused_one_not_at_all():
    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 3, 1)

        def forward(self, image):
            return self.used(self.used(image))

    assert layer_costs(Network(), 5, 4) == {"used": Cost(2 * 9 * 20, 12)}


def test_calls_take_turns_and_the_first_one_is_kept_apart(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(efficiency.time, "perf_counter", lambda: clock[0])
    durations = {"a": iter([9, 1, 2, 4, 8, 16]), "b": iter([7, 5, 5, 5, 5, 5])}

    def work(name):
        calls.append(name)
        clock[0] += next(durations[name])

    found = benchmark({name: lambda name=name: work(name) for name in "ab"}, 5, CPU)
    assert "".join(calls) == "ab" * 6
    assert found["a"].first == 9 and list(found["a"].seconds) == [1, 2, 4, 8, 16]
    assert list(found["a"].quartiles) == [2, 4, 8]  # of five numbers: the second, third and fourth
    assert found["b"].first == 7 and list(found["b"].quartiles) == [5, 5, 5]
    assert found["a"].median == 4


@pytest.mark.slow
def test_a_case_is_named_by_what_it_changes():
    assert Case("radf", 640, 427).name == "defusionnet" and Case("radf", 640, 427).dataset == "random-640x427"
    assert Case("compact", 64, 64, steps=3).name == "defusionnet-compact+step3"
    case = Case("compact", 64, 64, precision="auto", fusion_stride=1)
    assert case.name == "defusionnet-compact+auto+stride1"
    assert case.config == {"heads": "compact", "fusion_stride": 1}
    assert Case("compact", 64, 96, steps=2).cost == total_cost(meta_network(heads="compact", steps=2), 64, 96)


@pytest.mark.slow
def test_cases_map_their_photo_with_their_network(monkeypatch):
    calls = []
    monkeypatch.setattr(efficiency, "detect", lambda *given: calls.append(given))
    cases = [
        Case("compact", 40, 32),
        Case("compact", 32, 32),
        Case("compact", 32, 32, steps=1),
        Case("compact", 32, 32, precision="auto"),
    ]
    assert list(benchmark_cases(cases, 1, CPU, seed=3)) == cases
    assert len(calls) == 2 * len(cases)
    images, networks, sizes, precisions = zip(*calls[: len(cases)])
    assert [image.shape for image in images] == [(32, 40, 3), *[(32, 32, 3)] * 3]
    assert np.array_equal(images[1], efficiency.random_image(32, 32, 3))
    assert sizes == (None,) * 4 and precisions == ("fp32", "fp32", "fp32", "auto")
    assert [network.config["steps"] for network in networks] == [3, 3, 1, 3]
    # One network per set of switches and precision.
    assert networks[0] is networks[1] and networks[3] is not networks[0]


def test_threads_are_one_and_as_many_as_before(monkeypatch):
    seen = []
    monkeypatch.setattr(efficiency, "detect", lambda *given: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert list(benchmark_threads(Case("compact", 32, 32), 1, CPU)) == [1, 3]
        assert seen == [1, 3, 1, 3]
        monkeypatch.setattr(efficiency, "detect", lambda *given: 1 / 0)  # stops at one thread
        with pytest.raises(ZeroDivisionError):
            benchmark_threads(Case("compact", 32, 32), 1, CPU)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
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


ALLOCATE = """
import torch
from defusion_lib.experiments.efficiency import peak_memory
print(peak_memory(lambda: bytearray(b"1") * (300 * 2**20), torch.device("cpu"))[1])
"""


@pytest.mark.slow
def test_memory_is_what_a_call_allocates_even_if_the_parent_holds_more():
    if efficiency._process_memory("VmHWM") is None:
        pytest.skip("only Linux reports the highest memory level of a process")
    held = np.ones(800 * 2**20 // 8)
    done = subprocess.run([sys.executable, "-c", ALLOCATE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert held.sum() == held.size
    # Python's own pages for the call are far below one MiB; Linux counts in batches of pages.
    assert float(done.stdout) == pytest.approx(300, abs=3)


def test_memory_that_is_not_reported_is_none(monkeypatch):
    monkeypatch.setattr(efficiency, "_process_memory", lambda name: None)
    assert peak_memory(lambda: 5, CPU) == (5, None)


@pytest.mark.slow
def test_memory_holds_the_weights_and_in_training_their_gradients_and_momentum():
    weights = sum(p.numel() for p in meta_network(heads="compact").parameters()) * 4 / 2**20
    case, batch, detection, training = measure_training("compact", 32, 1, CPU)
    assert (case, batch) == (Case("compact", 32, 32), 1)
    for found in (detection, training):
        assert found.first > 0 and found.seconds > 0
    if detection.peak_mib is None:
        pytest.skip("only Linux reports the highest memory level of a process")
    # Maps of 32 x 32 pixels are small compared with the weights. The limits leave room for copies of weights in the
    # layout that convolutions prefer, and for pages of freed gradients; the libraries, 220 MiB and more, do not fit.
    assert weights < detection.peak_mib < 2 * weights
    assert 3 * weights < training.peak_mib < 6 * weights


@pytest.mark.slow
def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match="heads='huge' does not exist"):
        measure_in_subprocess("huge", 32, CPU, 0)


def exported():
    return dict(re.findall(r"^export (MALLOC_\w+) := (\d+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_allocator_settings_are_the_makefiles():
    assert exported() == ALLOCATOR


@pytest.mark.parametrize("allocator", [True, False])
def test_a_process_has_the_allocator_settings_or_none(monkeypatch, allocator):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    monkeypatch.setenv("OTHER", "kept")
    seen = {}

    def run(command, env, **how):
        seen.update(env)
        answer = json.dumps(Measurement(2, 1, None)._asdict())
        return subprocess.CompletedProcess(command, 0, f"said before\n{answer}\n", "")

    monkeypatch.setattr(efficiency.subprocess, "run", run)
    assert measure_in_subprocess("compact", 32, CPU, 0, allocator) == (2, 1, None)
    assert {key: value for key, value in seen.items() if key.startswith("MALLOC_")} == (exported() if allocator else {})
    assert seen["OTHER"] == "kept"


def test_this_process_has_the_allocator_settings_if_all_of_them_are_set(monkeypatch):
    for name, value in ALLOCATOR.items():
        monkeypatch.setenv(name, value)
    assert efficiency.has_allocator_settings()
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    assert not efficiency.has_allocator_settings()
