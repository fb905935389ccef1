"""Requirements for durable execution that somebody else wrote, met by workflows on our engine."""
