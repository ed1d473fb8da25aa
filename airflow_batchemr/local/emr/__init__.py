"""Amazon EMR with steps and bootstrap actions that run as local processes."""
