"""How fast foveal is on this machine, and how near that is to its best; suites of trainings and their ledger."""
