"""`python -m zsbench`, which is what torchrun starts: torchrun --nproc-per-node 2 -m zsbench run …"""

from zsbench.cli import main

if __name__ == "__main__":
    main()
