"""Formulas: schedules as pure functions of the epoch."""
