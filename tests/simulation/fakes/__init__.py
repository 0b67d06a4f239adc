"""The ports of the world outside, in memory: for simulations."""
