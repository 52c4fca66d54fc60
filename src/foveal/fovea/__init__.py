"""A network that gives frames back as they looked in training, and says which pixels are the task's own."""
