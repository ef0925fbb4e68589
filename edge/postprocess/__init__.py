"""Outputs to predictions, a file for each task. Factories: `create(manifest, specs) -> Postprocessor`."""
