"""What is the same for all providers: connections and answers that are shared by identity."""
