from __future__ import annotations

import pytest

from edge.errors import ConfigError
from edge.mqtt.url import parse
from edge.remote.address import without_credentials


@pytest.mark.parametrize(
    "text", ["http://u:s3cret@h", "mqtt://u:s3cret@h:99999", ":s3cret@h", "s3cret@h", "mqtt://u:s3cret@", "x:s3cret@@h"]
)
def test_a_wrong_address_is_told_without_its_password(text):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("uri", ["rtsp://u:s3cret@cam/1", "rtsp://u:p@s3cret@cam/1"])
def test_a_source_is_told_without_its_password(uri):
    assert without_credentials(uri) == "rtsp://cam/1"
