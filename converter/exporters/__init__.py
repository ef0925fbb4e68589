"""From a framework's model to ONNX or TFLite: a file or a folder for each framework, strangers to each other."""
