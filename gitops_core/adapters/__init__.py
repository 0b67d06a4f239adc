"""Everything that touches the world, each behind a Protocol in ports.py."""
