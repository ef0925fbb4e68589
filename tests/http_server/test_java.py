"""The JDK's own HTTP client, and curl, as they come: both offer HTTP/2 with each request (`Upgrade: h2c`)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from support import onnxmodels

JDK = """
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.stream.IntStream;

public class Ask {
    public static void main(String[] args) throws Exception {
        var client = HttpClient.newHttpClient();
        var url = URI.create(args[0]);
        var large = "[" + "1.5, ".repeat(40000) + "2.5]";
        for (var body : new String[] {"[1, 2, 3]", "[4, 5, 6]", large}) {
            var request = HttpRequest.newBuilder(url).POST(BodyPublishers.ofString(body)).build();
            var answer = client.send(request, BodyHandlers.ofString());
            System.out.println(answer.statusCode() + " " + answer.body());
        }
        var stream = BodyPublishers.ofInputStream(() -> new java.io.ByteArrayInputStream("[7, 8, 9]".getBytes()));
        var chunked = client.send(HttpRequest.newBuilder(url).POST(stream).build(), BodyHandlers.ofString());
        System.out.println(chunked.statusCode() + " " + chunked.body());
        IntStream.range(0, 64).parallel().forEach(i -> {
            var request = HttpRequest.newBuilder(url).POST(BodyPublishers.ofString("[" + i + ", 2, 3]")).build();
            var answer = client.sendAsync(request, BodyHandlers.ofString()).join();
            if (!answer.body().contains("\\"value\\":" + i + ".0")) throw new RuntimeException(answer.body());
        });
        var get = client.send(HttpRequest.newBuilder(url.resolve("/v2")).build(), BodyHandlers.ofString());
        System.out.println(get.statusCode() + " " + get.body());
    }
}
"""


@pytest.mark.skipif(shutil.which("java") is None, reason="needs a JDK: apt-get install default-jdk-headless")
def test_the_jdk_s_client_is_answered_each_time(numbers, tmp_path):
    (tmp_path / "Ask.java").write_text(JDK)
    command = ["java", "-Xshare:auto", str(tmp_path / "Ask.java"), f"{numbers.server.url}/predict"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    lines = done.stdout.splitlines()
    assert [line[:3] for line in lines] == ["200", "200", "400", "200", "200"], done.stderr
    assert [p["value"] for p in json.loads(lines[1][4:])["predictions"]] == [4, 5, 6]
    assert "40001 values" in lines[2]
    assert [p["value"] for p in json.loads(lines[3][4:])["predictions"]] == [7, 8, 9]


@pytest.mark.usefixtures("curl_is_here")
@pytest.mark.parametrize("more", [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]])
def test_curl_that_offers_http_2_is_answered_by_http_1(numbers, more):
    url = f"{numbers.server.url}/predict"
    command = ["curl", "-sS", "-v", "--http2", *more, "-d", "[1, 2, 3]", url, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=True)

    assert len(re.findall(r'"value":3\.0', done.stdout)) == 2
    assert "Upgrade: h2c" in done.stderr
    assert "HTTP/1.1 200 OK" in done.stderr


@pytest.mark.usefixtures("curl_is_here")
def test_curl_that_reuses_its_connection_behind_a_large_upload_is_answered(serve, models, tmp_path):
    site = serve(onnxmodels.identity(models / "curl2.onnx", shape=("n", 3)))
    body = tmp_path / "rows.json"
    body.write_text(json.dumps({"inputs": [{"name": "x", "shape": [200_000, 3], "datatype": "FP32",
                                            "data": [0.5] * 600_000}]}))  # fmt: skip
    url = f"{site.server.url}/v2/models/curl2/infer"
    command = ["curl", "-sS", "--http2", "-o", "/dev/null", "-w", "%{http_code} %{num_connects}\n",
               "--data-binary", f"@{body}"]  # fmt: skip
    done = subprocess.run(
        [*command, url, "-o", "/dev/null", url], capture_output=True, text=True, timeout=150, check=True
    )

    assert done.stdout.split() == ["200", "1", "200", "0"]
