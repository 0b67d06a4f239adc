"""What is the same for all providers: connections that are shared."""
