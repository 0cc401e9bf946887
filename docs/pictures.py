"""The pictures of these pages, made from the report of `make demo`.

python docs/pictures.py demo-report docs/pictures
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from trompe.reports import pictures, read

NAMES = {
    "distortion-distortion": "distortion",
    "how-often-the-output": "output-class",
    "targeted-attack": "autoencoder-grid",
    "how-large-a-change": "margin",
    "who-notices": "tamper-roc",
    "what-the-receiver": "transit-grid",
    "accuracy-against-radius-worst": "robust-accuracy",
    "images-that-fell": "classifier-grid",
    "accuracy-against-radius-bare": "defended",
}


def main(report: str, folder: str) -> None:
    """Write the figures of a report under the names that the pages use; of a name, the first figure."""
    with TemporaryDirectory() as drafts:
        for path in reversed(pictures(read(report), drafts)):
            for beginning, name in NAMES.items():
                if path.name[3:].startswith(beginning):
                    Path(folder, name + path.suffix).write_bytes(path.read_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:3])
