"""Data sets, whole and in memory: embedded, published, or the user's own.

`load("digits")`, `load("mnist", "train")`, `load("mnist[3,8]")`, `load("celeba-smiling")`,
`load("photos.npz")`, `load("photos/")`, `load("package.module:function")`; `from_arrays(x, y)` for what is
in memory already; `binarized` and `dynamic` for black and white; `Stream(Spheres())` for batches without end.
"""

from trompe.data.arrays import from_arrays
from trompe.data.binarization import binarized, dynamic
from trompe.data.dataset import Dataset
from trompe.data.fetching import fetch, listing, verify
from trompe.data.loading import fixed, load, names
from trompe.data.messages import Messages
from trompe.data.published import root, rooted
from trompe.data.toy import Features, Spheres, Stream

__all__ = [
    "Dataset",
    "Features",
    "Messages",
    "Spheres",
    "Stream",
    "binarized",
    "dynamic",
    "fetch",
    "fixed",
    "from_arrays",
    "listing",
    "load",
    "names",
    "root",
    "rooted",
    "verify",
]
