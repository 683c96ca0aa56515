"""Where the figures of a training go: the metrics file, Lightning's loggers, the printed table."""
