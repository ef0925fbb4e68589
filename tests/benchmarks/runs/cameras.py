"""Network cameras, in a process of their own: `python -m runs.cameras COUNT FPS FRAMES` prints its port.

Each path `/N` is a stream of MJPEG, FRAMES pictures at FPS, each sent when its time has come whatever became of those
before it. At the end of the last stream it prints how many were sent on each.
"""

from __future__ import annotations

import socket
import sys
import threading
import time

import cv2
import numpy as np

BOUNDARY = b"--frame\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n"


def main() -> None:
    count, fps, frames = (int(word) for word in sys.argv[1:4])
    noise = np.random.default_rng(3).integers(0, 255, (60, 80, 3), np.uint8)
    picture = cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    connections = [listener.accept()[0] for _ in range(count)]
    go = time.monotonic() + 1.0  # all at once, when the last is there
    threads = [threading.Thread(target=stream, args=(c, jpeg, fps, frames, go)) for c in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("done", flush=True)
    sys.stdin.read()


def stream(connection: socket.socket, jpeg: bytes, fps: int, frames: int, go: float) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
    for number in range(frames):
        time.sleep(max(0.0, go + number / fps - time.monotonic()))
        connection.sendall(BOUNDARY % len(jpeg) + jpeg + b"\r\n")


main()
