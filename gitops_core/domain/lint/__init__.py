"""What a checkout must not hold, and what of it cannot be decrypted: found without keys and without a cluster."""
