"""What a sync does: what is applied in which order, what is deleted, and what is remembered of it."""
