"""Rollouts under perturbations, their results, and robust averages of these."""
