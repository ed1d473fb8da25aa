"""Amazon EMR, with steps and bootstrap actions that run as processes of this machine."""
