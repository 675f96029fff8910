"""Benchmarks: datasets × recipes × evaluations × seeds, every cell a run, compared with honest statistics."""
