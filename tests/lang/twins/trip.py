"""Twin of trip.rwf."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from raftoral import Checkpoint, Compute, Flow, Log, Money, Parallel, Saga, workflow
from raftoral.errors import WorkflowFailed
from raftoral.replay.effects import activity


@dataclass(frozen=True)
class Trip:
    traveller: str
    origin: str
    goal: str
    nights: int
    budget: Money


@dataclass(frozen=True)
class Booking:
    id: str
    price: Money


@dataclass(frozen=True)
class Itinerary:
    flight: Booking
    room: Booking
    car: Booking | None


@activity("air.book")
def book_flight(origin: str, goal: str) -> Booking:
    raise NotImplementedError


@activity("air.cancel")
def cancel_flight(id: str) -> None:
    raise NotImplementedError


@activity("hotel.book")
def book_room(city: str, nights: int) -> Booking:
    raise NotImplementedError


@activity("hotel.cancel")
def cancel_room(id: str) -> None:
    raise NotImplementedError


@activity("car.book")
def book_car(city: str, nights: int) -> Booking:
    raise NotImplementedError


@activity("car.cancel")
def cancel_car(id: str) -> None:
    raise NotImplementedError


@activity("mail.send")
def send_mail(to: str, subject: str, body: str) -> None:
    raise NotImplementedError


PATIENT = {"first": "1s", "longest": "5m"}


@workflow("travel.book", version=1)
def book(trip: Trip, want_car: bool = True) -> Flow[Itinerary]:
    stage = yield from Checkpoint("stage", "booking")

    def flight() -> Flow[Booking]:
        return (
            yield from Compute("seat", book_flight, trip.origin, trip.goal)
            .retry(4, first="500ms", longest="20s", only=("Timeout", "Unavailable"))
            .timeout("30s")
            .undone_by(
                lambda seat: (
                    Compute(None, cancel_flight, seat.id).retry(10, **PATIENT).timeout("30s")
                )
            )
        )

    def room() -> Flow[Booking]:
        return (
            yield from Compute("room", book_room, trip.goal, trip.nights)
            .timeout("30s")
            .undone_by(
                lambda made: Compute(None, cancel_room, made.id).retry(10, **PATIENT).timeout("30s")
            )
        )

    def car() -> Flow[Booking | None]:
        if not want_car:
            return None
        try:
            return (
                yield from Compute("wheels", book_car, trip.goal, trip.nights)
                .timeout("30s")
                .undone_by(
                    lambda made: (
                        Compute(None, cancel_car, made.id).retry(10, **PATIENT).timeout("30s")
                    )
                )
            )
        except WorkflowFailed as failure:
            if failure.name != "Unavailable":
                raise
            yield from Log(f"no car: {failure.message}")
            return None

    def booking() -> Flow[Itinerary]:
        got = yield from Parallel("got", flight=flight(), room=room(), car=car())
        seat, made, wheels = got["flight"], got["room"], got["car"]
        assert seat is not None
        assert made is not None
        extra = Decimal("0.00") if wheels is None else wheels.price.amount
        spent = seat.price.amount + made.price.amount + extra
        if spent > trip.budget.amount:
            yield from stage.set("over budget")
            details = {"total": Money(spent, "EUR"), "budget": trip.budget}
            raise WorkflowFailed("OverBudget", details=details)
        yield from stage.set("confirmed")
        yield from (
            Compute(None, send_mail, trip.traveller, "Your trip", f"It costs {spent}EUR.")
            .retry(10, **PATIENT)
            .timeout("10s")
        )
        return Itinerary(seat, made, wheels)

    return (yield from Saga(booking()))
