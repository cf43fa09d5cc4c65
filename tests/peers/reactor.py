"""Mends a race in pynetdicom, for whoever imports this: before an association's own thread has stopped for a request to be
sent, pynetdicom may take it for stopped, on a busy machine; and then that thread takes the answer, and drops it."""

import threading
import time

from pynetdicom.association import Association

# Longer than the thread is in anything but a handler.
PATIENCE = 5.0


class Checkpoint(threading.Event):
    """Is cleared when the association's thread waits for it."""

    def __init__(self, thread):
        super().__init__()
        self.thread = thread
        self.set()

    def clear(self):
        super().clear()
        deadline = time.monotonic() + PATIENCE
        while self.is_waited_for() is False and time.monotonic() < deadline:
            time.sleep(0.001)

    def is_waited_for(self):
        if not self.thread.is_alive() or self.thread is threading.current_thread():
            return None
        with self._cond:
            return len(self._cond._waiters) > 0


def begin(association, *arguments, **options):
    begin_as_before(association, *arguments, **options)
    association._reactor_checkpoint = Checkpoint(association)


begin_as_before = Association.__init__
Association.__init__ = begin
