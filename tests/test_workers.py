import pytest

from keras_pamunet.workers import at_work, check_name, is_at_work, split_address


@pytest.mark.parametrize(
    ("address", "parts"),
    [("gpu1:8500", ("gpu1", 8500)), ("[::1]:80", ("::1", 80))],
)
def test_address(address, parts):
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["gpu1", ":8500", "gpu1:", "gpu1:x", "gpu1:65536"])
def test_no_address(address):
    with pytest.raises(ValueError, match=f"HOST:PORT.*{address!r}"):
        split_address(address)


@pytest.mark.parametrize("name", ["chief", "a/b", "..", "", "a b"])
def test_no_name(name):
    with pytest.raises(ValueError, match="Expected a worker's name"):
        check_name(name)


def test_at_work(tmp_path):
    assert not is_at_work(tmp_path, "a")
    with at_work(tmp_path, "a"):
        assert is_at_work(tmp_path, "a") and not is_at_work(tmp_path, "b")
    assert not is_at_work(tmp_path, "a")
