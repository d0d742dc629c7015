"""What is measured. Each module has `measure`, run by the worker, and `tables`."""
