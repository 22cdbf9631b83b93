"""What `benchmarks/compare.py` compares: the stores behind one interface, the checks, the timings."""
