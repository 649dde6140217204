"""zsbench: a benchmark and leakage audit for zero-shot semantic segmentation."""

__version__ = "0.1.0"
