"""What says how likely a text is: an n-gram model of the training words."""
