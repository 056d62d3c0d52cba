"""The parts of Benchmarks/full.py."""
