"""Keras and TensorFlow models to ONNX and TFLite."""
