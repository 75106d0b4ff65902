"""Speed with its error beside it. `make bench` runs them all; each is also `python -m benchmarks.<name>`."""
