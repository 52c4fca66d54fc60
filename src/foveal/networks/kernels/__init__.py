"""Kernels that exist for speed alone: each computes what a plain formula of PyTorch computes, in less time."""
