"""Notifications about runs: the implementation of `notify:` and `deadline:`."""
