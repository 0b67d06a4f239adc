"""From the Secrets that an object names to how its remote is reached."""
