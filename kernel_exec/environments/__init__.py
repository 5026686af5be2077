"""Named virtual environments on disk: each with ipykernel, a kernelspec, a record and a lock."""

from kernel_exec.environments.care import Health, Unused
from kernel_exec.environments.environment import Change, Environment, Package
from kernel_exec.environments.environments import Environments
from kernel_exec.environments.installer import Python

__all__ = ["Change", "Environment", "Environments", "Health", "Package", "Python", "Unused"]
