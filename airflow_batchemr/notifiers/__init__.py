"""Who is told about a run, and when: what `notify:` and `deadline:` of a pipeline file become."""
