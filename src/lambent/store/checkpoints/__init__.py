"""How far each event source mapping has come in each shard of its stream."""

from lambent.store.checkpoints.store import CheckpointStore

__all__ = ["CheckpointStore"]
