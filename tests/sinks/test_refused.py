"""A sink that is said wrongly is refused at the start, in a line that shows no password."""

from __future__ import annotations

import pytest

from edge.app import assembly
from edge.errors import ConfigError
from edge.plugins.contexts import SinkContext


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("console:out", "--sink console:out: it takes nothing behind the colon; say console"),
        ("file:", "--sink file: has no path; say file:results.jsonl"),
        ("redis://127.0.0.1", "--sink redis://127.0.0.1: has no stream"),
        ("redis://127.0.0.1/s#maxlen=-1", "--sink redis: #maxlen=-1: a number of at least 0 belongs there"),
        ("redis://127.0.0.1/s#maxln=1", "--sink redis: has no option 'maxln'; did you mean maxlen?"),
        ("redis:///s", "--sink redis: has no host; say "),
        ("redis://127.0.0.1:99999/s", "Port out of range 0-65535; say redis://host:6379"),
        ("redis://me:a/secret@127.0.0.1/s", r"in a user or a password write / \? # @ as %2F"),
        ("redis://[::1/s", "--sink redis: Invalid IPv6 URL; say "),
        ("webhook:ftp://127.0.0.1/x", "an http:// or https:// address belongs there"),
        ("webhook:http://127.0.0.1/x#batch=0", "--sink webhook: #batch=0: a number of at least 1 belongs there"),
        ("webhook:http://127.0.0.1/x#batch=many", "--sink webhook: #batch=many: Expected `int`"),
        ("webhook:http://127.0.0.1/x#secret_file={key}", "what follows whsec_ is not base64"),
        ("webhook:http://127.0.0.1/x#token_file=nowhere", "#token_file: nowhere: .* check the path and its rights"),
        ("kafka://127.0.0.1:9092", "--sink kafka"),
        ("postgres://127.0.0.1/db?nope=1", "invalid .*nope"),
    ],
)
def test_a_sink_that_is_said_wrongly_is_refused_with_the_way_out(uri, says, tmp_path):
    (tmp_path / "key").write_text("whsec_%%%\n")
    with pytest.raises(ConfigError, match=says) as refused:
        assembly.make_sink(uri.format(key=tmp_path / "key"), SinkContext(device="line3", model="digits"))
    assert "secret@" not in str(refused.value)
