"""The one place where torchvision is imported: `from defusion_lib.torchvision_door import torchvision`.

The torchvision wheels of the package index are linked against CUDA. Beside a CPU-only torch their compiled
extension does not load, and the import stops because the operator `torchvision::nms` was never declared.
Nothing here needs the extension, so declaring the two operators that torchvision asks for by name is enough:
models, transforms, datasets and utilities work; `torchvision.io` and the detection models do not.
"""

import torch

# The declarations are undone when this object dies, so it lives as long as the module.
_declarations = None

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    # Only here: declaring operators that the loaded extension has declared already ends the process.
    _declarations = torch.library.Library("torchvision", "FRAGMENT")
    _declarations.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declarations.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
