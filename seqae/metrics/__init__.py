"""Metrics: what is measured, each named for exactly what it is."""
