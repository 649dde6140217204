"""Page templates: HTML, style and script, inlined into one file."""
