"""Where files follow a policy, and the edits that bring them to what it chose."""
