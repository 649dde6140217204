"""Started by a test, alone or by torchrun: trains ViL-Seg for 20 steps in fp32 and logs every step."""

import dataclasses
import sys
from pathlib import Path

import torch

from zsbench import distributed
from zsbench.config import configure
from zsbench.data.captions import open_captions
from zsbench.data.view import Items
from zsbench.method import Job, load_method
from zsbench.nn import clip
from zsbench.sampling import Sampler
from zsbench.training import train

SMALL = {"steps": "20", "batch": "16", "warmup": "2", "local_views": "2", "projection": "32", "vision": sys.argv[3]}


def main(scenes: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    distributed.join(torch.device("cpu"))
    cls = load_method("vilseg").cls
    parts = sys.modules[cls.__module__]
    method = configure(cls, SMALL, "drawn").method
    captions = open_captions("web", drawn_root=scenes)
    items = Items(captions.size, lambda places: [(p.image, p.caption) for p in captions.fetch(places)])
    job = Job(torch.device("cpu"), 0, folder, save_seconds=0.05)  # saving goes by each process's own clock
    torch.manual_seed(0)
    net = parts.VilSegNet(method, clip.build(method.encoder))
    batches = parts.CaptionBatches(method.views(), items, Sampler(captions.size, method.batch, 0), net.towers, job)
    train(net, batches, dataclasses.replace(method.recipe(), log_every=1), job)
    distributed.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
