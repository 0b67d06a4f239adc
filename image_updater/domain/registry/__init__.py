"""What registries say and are told: names of images, credentials, webhooks, platforms, signatures."""
