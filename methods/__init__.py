"""One file = one method = one name for --method; copy `_template.py` to add one."""
