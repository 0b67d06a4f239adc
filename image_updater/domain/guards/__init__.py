"""What an UpdateGuard forbids, delays, proves and takes back."""
