"""Who may write, and where: the Lease, leave for each write, and cluster handles that know both."""
