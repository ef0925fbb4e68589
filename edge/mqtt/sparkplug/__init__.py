"""Sparkplug B 3.0: results as data of an edge node, and metrics of other nodes as inputs."""
