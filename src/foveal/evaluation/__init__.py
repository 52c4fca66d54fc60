"""Rollouts under perturbations, what they found, and robust averages of it."""
