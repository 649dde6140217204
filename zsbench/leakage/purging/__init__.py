"""A corpus without the captions that name a class: rewritten, or as lists of what to keep."""
