"""`sealoop apply`, `get` and `delete`: kubectl's habits."""
