"""One step of the optimizer: its rate, its precision, its share of the tokens."""
