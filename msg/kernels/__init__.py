"""Spikes as bits, and what is computed on them.

Spike trains are :class:`PackedSpikes`, one bit a spike. The kernels on them are operators of torch, compiled by numba
on a CPU (``pip install "msg-graph[fast]"``) and plain torch elsewhere; :func:`status` says which, and why.
"""

from msg.kernels.choice import Status, status
from msg.kernels.packed import PackedSpikes, pack

__all__ = ["PackedSpikes", "Status", "pack", "status"]
