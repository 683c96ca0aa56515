"""What decoders that look back at a text read of it: attention to it, and copies of its words."""
