"""What a claim costs, measured beside the alternatives: `python -m benchmarks`."""
