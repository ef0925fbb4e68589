"""Samples to tensors, a file for each kind of input. Factories: `create(manifest, specs) -> Preprocessor`."""
