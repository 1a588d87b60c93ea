"""Pages of the demo, each in a browser of its own."""

from urllib.parse import urlparse

import pytest


@pytest.fixture
def open_page(browser):
    contexts = []

    def opened(url, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.remote = []
        page.on(
            "request", lambda request: page.remote.append(request.url) if _is_remote(request.url) else None
        )
        page.goto(url)
        page.wait_for_selector("#tweet textarea")
        return page

    yield opened
    for context in contexts:
        context.close()


def _is_remote(url):
    return urlparse(url).scheme not in ("data", "blob") and urlparse(url).hostname not in (
        "127.0.0.1",
        "localhost",
    )
