"""What the programs that tests start are told by a signal, however the suite itself was started.

A shell that starts a command in the background (`make test &`, nohup) has it ignore SIGINT, and every program that is
started by it as well: Ctrl-C would end none of them.
"""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
