"""The loop body that all kinds share: informers, queue, retries, conditions, events, leadership."""
