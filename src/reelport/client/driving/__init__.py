"""What drives a flow: its steps, the hands that take them by threads or on the event loop, the seam to the network."""
