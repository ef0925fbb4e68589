#!/usr/bin/env bash
# Debian trixie's python3-onnxruntime 1.21.0: hundreds of lines "Schema error" on stderr at the first session, and all is well.
#
# One would expect: a build that works says nothing, and what it calls an error is one.
# What happens: Debian builds it against its libonnx, and the definitions of the operators are registered a second time. Each
# refused registration is a line on stderr, written by the C++ below Python, at the first session of a process. The log
# level of the session or of the library does not count, Python's sys.stderr does not see it, and the answers are right.
# Why it matters: a service that logs to stderr has some 570 lines of errors in the journal at each start, and a log of JSON
# lines is none. The way out is to hold back descriptor 2 while the first session is made.
#
# Wants mmdebstrap and root: Debian's packages go into a root of their own. The model is written by hand, byte for byte.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | grep -v security | head -1)
mmdebstrap --quiet --variant=apt --include=python3-onnxruntime trixie "$folder/root" "deb $mirror trixie main"
cat > "$folder/root/tmp/try.py" <<'PYTHON'
import numpy as np
import onnxruntime

def field(number, payload):
    """Of a protobuf message: a number, bytes, or text."""
    if isinstance(payload, int):
        return bytes([number << 3, payload])
    data = payload.encode() if isinstance(payload, str) else payload
    return bytes([number << 3 | 2, len(data)]) + data

def value(name):  # float[3]
    tensor = field(1, 1) + field(2, field(1, field(1, 3)))
    return field(1, name) + field(2, field(1, tensor))

node = field(1, "x") + field(2, "y") + field(4, "Neg")
graph = field(1, node) + field(2, "g") + field(11, value("x")) + field(12, value("y"))
onnxruntime.set_default_logger_severity(4)
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
model = field(1, 8) + field(7, graph) + field(8, field(2, 17))
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
print("onnxruntime", onnxruntime.__version__, session.run(None, {"x": np.array([1, 2, 3], np.float32)})[0].tolist())
PYTHON
# onnxruntime reads /proc/cpuinfo.
unshare --mount --pid --fork --propagation private sh -c "mount -t proc proc '$folder/root/proc' &&
  chroot '$folder/root' python3 /tmp/try.py" > "$folder/out" 2> "$folder/err"
cat "$folder/out"
chroot "$folder/root" dpkg-query --show python3-onnxruntime
lines=$(grep -c "^Schema error: " "$folder/err")
echo "lines of \"Schema error\" on stderr: $lines"
grep -m1 "^Schema error: " "$folder/err"
grep -q "\[-1.0, -2.0, -3.0\]" "$folder/out" && ((lines > 100)) || { echo "it has changed"; exit 1; }
