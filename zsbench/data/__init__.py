"""Data sets, the guard between them and the methods, and caption corpora."""
