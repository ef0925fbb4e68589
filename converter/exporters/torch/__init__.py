"""PyTorch models to ONNX and TFLite."""
