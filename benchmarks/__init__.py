"""Speed beside a floor and beside other libraries: `python -m benchmarks --help`."""
