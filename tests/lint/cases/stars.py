"""Names of imports of everything are those of the module that has them."""

from time import *

from raftoral import *


@activity("wait")
def wait() -> None:
    sleep(1)


@workflow("stars", version=1)
def stars() -> Flow[None]:
    yield from Compute("waits", wait)
    sleep(1)  ### RPY10: `sleep` waits by the clock
