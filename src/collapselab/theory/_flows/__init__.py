"""What flows of the squared error and renormalised flows have in common."""
