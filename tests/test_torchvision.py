"""torchvision can be used whatever torch it was built for."""

import subprocess
import sys

import pytest
import torch

from defusion_lib.weights import import_torchvision


@pytest.mark.slow
def test_models_transforms_and_masks_work():
    torchvision = import_torchvision()
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    assert len(torchvision.models.vgg16(weights=None).features) == 31
    mask = tv_tensors.Mask(torch.eye(4))
    assert torch.equal(v2.functional.horizontal_flip(mask), torch.eye(4).flip(1))


@pytest.mark.slow
def test_another_failure_of_the_import_is_not_hidden(tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text("raise RuntimeError('the file is damaged')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from defusion_lib.weights import import_torchvision; import_torchvision()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0 and "the file is damaged" in done.stderr


def test_a_missing_torchvision_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ModuleNotFoundError, match="not installed, and downloads VGG-16's weights: pip install"):
        import_torchvision()
