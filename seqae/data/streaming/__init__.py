"""Text that is tokenised while training, in shards that ranks and loader workers divide."""
