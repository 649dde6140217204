"""zsbench: a benchmark and leakage audit for zero-shot semantic segmentation."""

from pathlib import Path

_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "methods").is_dir() and (_checkout / "pyproject.toml").is_file():
    # In a checkout methods/, splits/ and reports/ lie beside this folder and not in it; `python -m zsbench` finds them.
    __path__.append(str(_checkout))

__version__ = "0.1.0"
