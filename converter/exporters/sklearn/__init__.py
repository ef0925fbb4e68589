"""scikit-learn models to ONNX."""
