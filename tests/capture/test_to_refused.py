"""`--capture-to` is held at the start to what may be sent, in a line that shows no secret."""

from __future__ import annotations

import pytest

from edge.capture import upload
from edge.errors import ConfigError


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ("backup", "an https:// address belongs there"),
        ("ftp://host/{name}", "an https:// address belongs there"),
        ("http://far.example/{name}", "samples go encrypted only; say https://"),
        ("https://me:secret@host/{name}", "a user and a password in it are not sent; say #token_file=FILE"),
        ("https://host/{name}#tokn_file=x", "has no option 'tokn_file'; did you mean token_file?"),
    ],
)
def test_an_address_that_nothing_may_be_sent_to_is_refused(said, says):
    with pytest.raises(ConfigError, match=says) as refused:
        upload.remote(said, "d", "m")
    assert "secret" not in str(refused.value)
