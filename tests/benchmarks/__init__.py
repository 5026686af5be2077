"""What kernel_exec costs over the parts that it is made of: `python -m tests.benchmarks`.

Values and floors are measured by turns in one sitting, because only their ratio means anything.
"""
