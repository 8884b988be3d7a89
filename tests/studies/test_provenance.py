import hashlib
import importlib.metadata
import json
import sys

import pytest

from eqviz.models.registry import MODELS
from eqviz.studies import provenance
from eqviz.studies.provenance import code_fingerprint, environment, file_fingerprint, model_fingerprints, version


def test_a_file_is_known_by_its_contents(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100_000)
    assert file_fingerprint(path) == hashlib.sha256(b"x" * 100_000).hexdigest()


def test_the_code_fingerprint_follows_the_code_that_measures(tmp_path, monkeypatch):
    for part in ("groups", "fields", "capture", "models", "data", "analysis", "plots"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.py").write_text("1")
    (tmp_path / "studies").mkdir()
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "studies" / "provenance.py"))
    fresh = code_fingerprint.__wrapped__
    found = [fresh()]
    (tmp_path / "plots" / "a.py").write_text("2")
    assert fresh() == found[0]
    for change in (lambda: (tmp_path / "fields" / "a.py").write_text("2"), (tmp_path / "fields" / "b.py").touch):
        change()
        found.append(fresh())
    (tmp_path / "fields" / "b.py").rename(tmp_path / "groups" / "b.py")
    found.append(fresh())
    assert len(set(found)) == 4
    assert all(len(digest) == 16 for digest in found)


def test_the_users_own_code_has_a_fingerprint(tmp_path, monkeypatch):
    path = tmp_path / "my_own_network.py"
    path.write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(MODELS, "mine", "my_own_network:build")
    try:
        assert model_fingerprints("mine", ()) == {"my_own_network": file_fingerprint(path)}
        assert model_fingerprints("p4cnn", ("my_own_network",)) == model_fingerprints("mine", ("my_own_network",))
    finally:
        sys.modules.pop("my_own_network", None)
    assert model_fingerprints("p4cnn", ("sys",)) == {}


def test_the_environment_is_plain_data():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found["eqviz"] == version() == importlib.metadata.version("eqviz")
    assert found["code"] == code_fingerprint()
    assert found["created"].endswith("+00:00")
    assert found["packages"]["torch"] == importlib.metadata.version("torch")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_fingerprint(tmp_path / "none")
