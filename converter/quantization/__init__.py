"""How the quantising passes work: ONNX Runtime's static int8, ai-edge-quantizer for TFLite."""
