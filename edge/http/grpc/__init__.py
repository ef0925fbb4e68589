"""The Open Inference Protocol over gRPC, beside HTTP and in its event loop."""
