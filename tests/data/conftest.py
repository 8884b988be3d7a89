import http.server
import threading

import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder served on 127.0.0.1: (folder, address, the paths that were asked for)."""
    folder, asked = tmp_path / "home", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            asked.append(self.path)

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("EQVIZ_DATA", str(tmp_path / "cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/", asked
        server.shutdown()
        thread.join()
