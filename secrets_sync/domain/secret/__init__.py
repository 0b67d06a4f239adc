"""What becomes of a Secret: when it is made, of what, whose it is, and when it goes."""
