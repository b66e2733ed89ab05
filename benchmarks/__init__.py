"""Where README's figures come from: each table runs all its peers in one process, in turn."""
