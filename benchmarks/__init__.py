"""Side-by-side timings; `python -m benchmarks.<name> [--quick]`."""
