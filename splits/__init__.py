"""Data only: one TOML file = one split = one name for --split."""
