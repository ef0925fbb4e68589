"""What exporters of neural networks share: from tensors to a manifest, rows and a reference."""
