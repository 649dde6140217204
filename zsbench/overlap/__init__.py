"""The image-list audit: which images lists, folders and data sets share, by name and by looks."""
