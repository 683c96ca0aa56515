"""What runs beside the training: a file for each callback."""
