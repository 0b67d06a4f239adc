"""Which tags there are, since when, and which of them a policy chooses."""
