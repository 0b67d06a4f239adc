"""What belongs to a source's artifact, and who may say that there is a new one."""
