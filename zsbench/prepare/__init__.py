"""Official archives, given as local files, into the layouts that the readers of `zsbench.data` know. No network, ever."""
