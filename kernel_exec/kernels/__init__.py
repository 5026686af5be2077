"""Live kernels: start, talk, interrupt, measure, end."""

from kernel_exec.kernels.ending import Ending
from kernel_exec.kernels.isolation import Isolation
from kernel_exec.kernels.kernel import Kernel
from kernel_exec.kernels.launch import Kernels
from kernel_exec.kernels.requests import InputRequest, KernelEnded, Message, Request
from kernel_exec.kernels.usage import Meter, Spent, Usage

__all__ = [
    "Ending",
    "InputRequest",
    "Isolation",
    "Kernel",
    "KernelEnded",
    "Kernels",
    "Message",
    "Meter",
    "Request",
    "Spent",
    "Usage",
]
