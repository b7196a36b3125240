"""Schedulers: formulas with a clock."""
