"""Tasks: a model and texts in, a table or a file out."""
