"""Text that is tokenised during training, in shards that ranks and loader workers divide.

`datasets.IterableDataset` with `split_dataset_by_node`, and the StatefulDataLoader of torchdata,
stream and resume, too, but not on another number of ranks or workers. Here a run continues after
the last trained batch, in the same order, on any number that divides the shards.
"""
