"""`dispersed explore`: the memory landscape and real digits in the browser."""

from typing import Annotated, Any

import typer


def explore_command(
    port: Annotated[int, typer.Option(help="Where the page is served; 0 takes any free port.")] = 8765,
    host: Annotated[
        str, typer.Option(help="Address to listen at; at 0.0.0.0 other machines can open the page, without a password.")
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Open the explorer: drag memories on a 2-D energy landscape, drop cues, recall damaged digits.

    Serves one local page until Ctrl-C; nothing is loaded from elsewhere and nothing is written.
    """
    import contextlib
    import os
    import socket
    import sys
    import threading
    import webbrowser

    import uvicorn
    from rich.console import Console

    from dispersed.validation import InputError

    if not 0 <= port < 65536:
        raise InputError("port", f"got {port}", "ports from 0 to 65535 are accepted")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=64)
    except (OSError, ValueError) as error:  # of addresses, and of names that are none
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("host, port", f"cannot listen at {host}:{port} ({reason})", "try another --port") from None
    from dispersed.explorer.memory import compile_in_little_memory

    compile_in_little_memory()
    from dispersed.explorer.server import application

    name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    url = f"http://{name}:{listening.getsockname()[1]}/"
    Console(highlight=False, soft_wrap=True).print(f"The explorer is at {url} (Ctrl-C to stop).")
    if browser:
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    stopping = threading.Event()

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            stopping.set()
            super().handle_exit(sig, frame)

    # What clients send or leave out is no message for the terminal.
    app = application(host, warm=True, stopping=stopping)
    settings = uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=2)
    # The server may take the interrupt for itself and return.
    with contextlib.suppress(KeyboardInterrupt):
        Server(settings).run(sockets=[listening])
    Console().print("Stopped.")
    # A thread may be compiling, which cannot be interrupted and crashes an interpreter that shuts down meanwhile.
    sys.stdout.flush()
    os._exit(0)
