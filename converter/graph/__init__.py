"""ONNX graphs and TFLite names: look at them, change them."""
