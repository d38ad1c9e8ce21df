"""What things are, and the five versioned doors: Recording, shard, Batch, checkpoint manifest, Result."""
