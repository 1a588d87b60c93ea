"""The guard of a local page: it answers to the names of its own machine, and to no page of another site.

Without it any web page in the same browser reads and writes what lies behind the page: by a name of its own
that is made to point at 127.0.0.1 (DNS rebinding: a foreign Host), or by sending forms there (a foreign
Origin, Sec-Fetch-Site: cross-site).
"""

import ipaddress
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

Scope = MutableMapping[str, Any]
Asgi = Callable[[Scope, Callable[..., Any], Callable[..., Any]], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
EVERY_ADDRESS = ("0.0.0.0", "[::]")
AUTHORITY = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:(?P<port>[0-9]*))?")
SHARED = re.compile(r"[a-z0-9-]+\.gradio\.live")
# What a proxy says the address was. Gradio makes its links of these: they have to be this page's names too.
FORWARDED = (b"x-forwarded-host", b"x-gradio-server")
WRONG_NAME = "Refused: this page answers to its own address only. Open the one that its command printed.\n"
OTHER_SITE = "Refused: this comes from another site. Open the address that this page's command printed.\n"


def only_this_machine(host: str) -> bool:
    """Whether nobody but this machine reaches a page that listens at host, a name or an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def guarded_app(host: str, share: bool, reports: Mapping[str, Path]) -> Any:
    """The application that gradio fills and serves, with the guard around all of it, web sockets included.

    reports: HTML files that it answers with, by the path of each.
    """
    from gradio.routes import App, ORJSONResponse
    from starlette.responses import FileResponse

    class OwnApp(App):
        # Not app_kwargs={"middleware": ...}: gradio's CORS layer lies outside and would answer strangers.
        def build_middleware_stack(self) -> Any:
            return OwnHost(super().build_middleware_stack(), host, share)

    app = OwnApp(default_response_class=ORJSONResponse)
    for path, report in reports.items():
        app.add_route(f"/{path}", lambda _, report=report: FileResponse(report, media_type="text/html"))
    return app


class OwnHost:
    """ASGI middleware. host: what the page listens at. share: whether a gradio.live link was asked for."""

    def __init__(self, app: Asgi, host: str, share: bool) -> None:
        self.app, self.share = app, share
        self.host = bracketed(host.lower())

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            from starlette.responses import PlainTextResponse

            await PlainTextResponse(refusal, 403)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        hosts = _values(scope, b"host")
        forwarded = [value for name in FORWARDED for value in _values(scope, name)]
        if len(hosts) != 1 or not all(self._is_own(value, scope) for value in (*hosts, *forwarded)):
            return WRONG_NAME
        origins, sites = _values(scope, b"origin"), _values(scope, b"sec-fetch-site")
        if len(origins) > 1 or not all(_is_same(origin, hosts[0]) for origin in origins):
            return OTHER_SITE
        is_foreign = any(site not in ("same-origin", "none") for site in sites)
        return OTHER_SITE if is_foreign and not _is_link(scope) else None

    def _is_own(self, authority: str, scope: Scope) -> bool:
        match = AUTHORITY.fullmatch(authority)
        if not match:
            return False
        names = [*LOOPBACK, self.host]
        if self.host in EVERY_ADDRESS and scope.get("server"):
            # The address that this connection arrived at: a rebound name is never one.
            names.append(bracketed(scope["server"][0]))
        return match["name"] in names or (self.share and SHARED.fullmatch(match["name"]) is not None)


def _values(scope: Scope, name: bytes) -> list[str]:
    """Every value of a header, in small letters: names of hosts have no others."""
    return [
        value.decode("latin-1").strip(" \t").lower() for key, value in scope["headers"] if key.lower() == name
    ]


def bracketed(host: str) -> str:
    """A host as it stands in an address: IPv6 in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _is_same(origin: str, host: str) -> bool:
    """Whether a page at origin is this page: the same name and port; the names of the loopback are one."""
    scheme, _, authority = origin.partition("://")
    one, other = AUTHORITY.fullmatch(authority), AUTHORITY.fullmatch(host)
    if scheme not in ("http", "https") or not one or not other:
        return False
    if (one["port"] or "") != (other["port"] or ""):
        return False
    return one["name"] == other["name"] or {one["name"], other["name"]} <= set(LOOPBACK)


def _is_link(scope: Scope) -> bool:
    """Whether somebody followed a link from elsewhere to the page itself, in a tab and not in a frame."""
    is_page = scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and scope["path"] == "/"
    is_tab = _values(scope, b"sec-fetch-dest") == ["document"]
    return is_page and is_tab and _values(scope, b"sec-fetch-mode") == ["navigate"]
