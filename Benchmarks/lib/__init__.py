"""The parts of Benchmarks/full.py and Benchmarks/incremental.py."""
