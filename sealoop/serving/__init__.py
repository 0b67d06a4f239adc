"""`sealoop run`: the service, and what it answers over HTTP."""
