"""A workflow that follows into the other files of its package."""

from raftoral import Compute, Flow, workflow

from . import clocks, restamped
from .activities import charge
from .clocks import Watch, stamp
from .missing import nothing


@workflow("shop.order", version=1)
def order(name: str, watch: Watch) -> Flow[float]:
    yield from Compute("charge", charge, name)
    charge(name)  ### RPY05: the activity `charge`
    clocks.stamp()
    restamped()
    nothing()  ### RPY14: `nothing` is outside of your project
    watch.read()
    return stamp()
