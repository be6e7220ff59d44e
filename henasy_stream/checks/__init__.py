"""What `doctor` looks at.  Functions without side effects that return findings, each run in a process of its own."""
