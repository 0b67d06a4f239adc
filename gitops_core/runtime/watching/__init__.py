"""What the cluster holds: mirrors of its objects, and who must look again when one of them changes."""
