"""What foveal asks of the machine itself: its cores, and how the C library keeps memory."""
