"""Reads finished records and writes pages and tables; knows nothing else of the harness."""
