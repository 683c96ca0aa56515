"""From token ids to batches: which sentences, in which order, by which process."""
