"""The Open Inference Protocol over gRPC, beside HTTP and in its event loop."""

import os

# gRPC's core writes to standard error what anybody sends, token or none, as it came: lines that look like the service's
# own, and what a terminal obeys. It asks for this when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
