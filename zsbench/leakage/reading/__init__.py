"""From what a user names to batches of captions: files of every format, archives, object stores, streams."""
