"""The seams of the runtime, and how plug-ins are found."""
