from __future__ import annotations

import re

import pytest
from support.rtsp import RtspServer

from edge.errors import ConfigError, EndOfStream, SampleError, SourceError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.sources.video import file, rtsp
from edge.telemetry.clock import SystemClock
from edge.testing.checks import check_source


def context() -> SourceContext:
    return SourceContext(clock=SystemClock())


@pytest.mark.parametrize("name", ["film.mp4", "film.avi", "film.mkv"])
def test_a_video_gives_every_picture_and_ends(film, name):
    path = film(name)
    check_source(lambda: file.create(str(path), context()), gives=30)


def test_its_pictures_are_rgb(film):
    path = film("red.avi", "-vf", "drawbox=c=red:t=fill", "-c:v", "mjpeg", "-q:v", "1")
    made = file.create(str(path), context())
    made.open()
    red, green, blue = made.read(1).payload.pixels.reshape(-1, 3).mean(axis=0)
    assert red > 200
    assert green < 60
    assert blue < 60
    made.close()


def read_all(made) -> int:
    count = 0
    try:
        while True:
            count += made.read(1) is not None
    except EndOfStream:
        return count
    finally:
        made.close()


@pytest.mark.parametrize("name", ["film.avi", "film.mkv"])
def test_a_video_that_ends_in_the_middle_broke_off(film, name):
    path = film(name, "-c:v", "mjpeg")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="ends in the middle, after"):
        told(file.create(str(path), context()))


def test_of_a_video_that_was_written_as_it_came_both_is_told_where_it_ends_early(film):
    """Its head says no size: a cut off one looks as one whose sound is longer."""
    path = film("film.ts", "-c:v", "mpeg2video", "-g", "5", "-f", "mpegts")
    whole = path.read_bytes()
    sound = ["-filter_complex", "sine=duration=5[sound]", "-map", "0:v", "-map", "[sound]"]
    path = film("film.ts", *sound, "-c:v", "mpeg2video", "-g", "5", "-c:a", "mp2", "-f", "mpegts")
    assert path.read_bytes() != whole
    count, (reason,) = told(file.create(str(path), context()))
    assert count == 30
    assert "and its end lies behind that: the file is cut, or holds no later one" in reason


def told(made) -> tuple[int, list[str]]:
    """How many pictures there are, and what is said of those that cannot be read."""
    count, said = 0, []
    made.open()
    try:
        while True:
            try:
                count += made.read(1) is not None
            except SampleError as exc:
                said.append(str(exc))
    except EndOfStream:
        return count, said
    finally:
        made.close()


@pytest.mark.parametrize(
    ("name", "options"), [("film.avi", ["-c:v", "mjpeg"]), ("film.mp4", ["-c:v", "mjpeg"]), ("film.mkv", ["-g", "5"])]
)
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_video_goes_on_behind_a_damaged_place_and_tells_of_it(film, name, options, share):
    path = film(name, *options, "-r", "10", "-t", "3")
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") if name.endswith("mp4") else 0
    at = start + int((len(data) - start) * share)
    data[at : at + len(data) // 5] = bytes(len(data) // 5)
    path.write_bytes(data)
    count, said = told(file.create(str(path), context()))
    assert 10 < count < 29
    each = sum(": picture " in reason for reason in said)
    lost = (
        f"{30 - count} of 30 pictures could not be read",
        f"pictures, {count} could be read: the others are damaged, or",
    )
    whole = any(words in said[-1] for words in lost) or count + each == 30
    assert whole or "goes on behind it" in said[-1]


@pytest.mark.parametrize("name", ["film.avi", "film.mov", "film.mkv"])
def test_each_damaged_picture_of_motion_jpeg_is_told_and_the_others_are_given(film, name):
    path = film(name, "-c:v", "mjpeg", "-q:v", "3")
    data = bytearray(path.read_bytes())
    starts = [m.start() for m in re.finditer(b"\xff\xd8\xff", data)]
    assert len(starts) == 30
    for at in (starts[7], starts[8], starts[20]):
        scan = data.index(b"\xff\xda", at) + 14
        data[scan : scan + 4] = b"\xff\xd9\0\0"  # its end, too early
    path.write_bytes(data)
    count, said = told(file.create(str(path), context()))
    assert count == 27
    assert [re.search(r"picture (\d+): a damaged JPEG", reason)[1] for reason in said] == ["8", "9", "21"]


@pytest.mark.parametrize("name", ["film.mkv", "film.avi", "film.mp4"])
def test_pictures_at_no_constant_rate_are_all_there(film, name):
    """Some recorders write a picture where something moved: most containers hold no count of them."""
    times = "settb=1/1000,setpts=if(lt(N\\,10)\\,N*100\\,if(lt(N\\,20)\\,1000+(N-10)*33\\,1330+(N-20)*270))"
    path = film(name, "-vf", times, "-fps_mode", "vfr", "-enc_time_base", "1:1000", "-c:v", "mpeg4")
    assert told(file.create(str(path), context())) == (30, [])


def test_where_pictures_may_be_damaged_or_never_there_both_is_told(film):
    """Every fifth one was not written, at an even rate otherwise: by its times that is what damage looks like, too."""
    path = film("film.mkv", "-vf", "select=mod(n\\,5)", "-fps_mode", "vfr", "-c:v", "mpeg4")
    count, (reason,) = told(file.create(str(path), context()))
    assert count == 24
    assert "there is room for 29 pictures, 24 could be read: the others are damaged, or were never there" in reason


def test_a_sound_that_is_longer_than_its_pictures_makes_them_no_broken_video(film):
    sound = ["-filter_complex", "sine=duration=5[sound]", "-map", "0:v", "-map", "[sound]", "-c:a", "pcm_s16le"]
    path = film("film.mkv", *sound, "-c:v", "mpeg4")
    assert told(file.create(str(path), context())) == (30, [])


def test_a_whole_video_tells_nothing(film):
    assert told(file.create(str(film("film.mp4")), context())) == (30, [])


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_a_file_that_is_no_video_is_told_at_once(tmp_path, content):
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="not a video"):
        file.create(str(path), context()).open()


def test_a_video_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        file.create(str(tmp_path / "film.mp4"), context()).open()


@pytest.fixture
def server(film):
    server = RtspServer(film("film.ts", "-c:v", "mpeg2video", "-g", "5", "-f", "mpegts"))
    server.start()
    yield server
    server.kill()


def a_picture(made):
    for _ in range(300):
        sample = made.read(0.5)
        if sample is not None:
            return sample
    raise AssertionError("no picture")


def test_a_stream_gives_pictures(server):
    made = rtsp.create("rtsp", server.url.removeprefix("rtsp:"), context())
    made.open()
    sample = a_picture(made)
    assert sample.payload.pixels.shape == (48, 64, 3)
    assert sample.source == f"rtsp://127.0.0.1:{server.port}/stream"
    made.close()


def test_a_server_that_vanishes_is_unavailable_until_it_is_back(server):
    made = rtsp.create("rtsp", server.url.removeprefix("rtsp:"), context())
    made.open()
    a_picture(made)
    server.kill()
    with pytest.raises(UnavailableError):
        read_all(made)
    made.close()
    with pytest.raises(UnavailableError, match="does not open"):
        made.open()
    server.start()
    made.open()
    assert a_picture(made) is not None
    made.close()
