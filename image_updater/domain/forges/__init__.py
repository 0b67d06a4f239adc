"""The pull request of a bump: when there is one, and what it says."""
