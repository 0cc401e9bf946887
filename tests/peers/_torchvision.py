"""Makes `import torchvision` work beside a torch it was not built for.

Its compiled part is missing two operators that its Python part looks up at import; nothing here calls
them. Import this module first, and keep it imported.
"""

import torch

__all__ = ["LIBRARY"]

_ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
LIBRARY = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    LIBRARY.define(_name + _ARGUMENTS)
