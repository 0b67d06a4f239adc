"""Who we are to the big clouds, as their own SDKs prove it (docs/decisions/0005)."""
