"""What a browser sees at `/`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import lambent
from lambent.http1.request import Request


def is_browser(request: Request) -> bool:
    """S3's ListBuckets has this address too, but never asks for HTML."""
    return b"text/html" in (request.header(b"accept") or b"") and request.header(b"authorization") is None


def page(services: Iterable[str]) -> bytes:
    names = ", ".join(escape(name) for name in services)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Lambent</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 40em; margin: 4em auto; padding: 0 1em }}</style>
<h1>Lambent {escape(lambent.__version__)}</h1>
<p>AWS Lambda on machines of your own. This is the address for AWS clients:</p>
<pre>export AWS_ENDPOINT_URL=http://localhost:4566
aws lambda list-functions</pre>
<p>Services here: {names or "none"}. Health: <a href="/_lambent/health">/_lambent/health</a>.</p>
</html>
""".encode()
