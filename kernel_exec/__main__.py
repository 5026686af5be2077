"""`python -m kernel_exec` is the command `kernel-exec`."""

from kernel_exec.cli import main

if __name__ == "__main__":
    main()
