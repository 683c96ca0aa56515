"""Checkpoints: complete or absent on the disk, verified before use, and resumed from exactly."""
