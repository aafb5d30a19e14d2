"""What a person can do about a dead letter, by the reason of the refusal."""

from __future__ import annotations

from collections.abc import Mapping

from streamapp.schemas.judging.rejected import Reason

ADVICE: Mapping[str, str] = {
    Reason.EMPTY_VALUE: "There is nothing to bill. Find the producer that sends empty records, then drop the "
    "dead letter.",
    Reason.MALFORMED_JSON: "Write the bytes to a file, repair them, and send the dead letter again with --value.",
    Reason.FRAMED_JSON: "Its producer uses a schema registry's serializer that frames values: let it put the id into "
    "a header. Cut the frame off, and send the dead letter again with --value.",
    Reason.INVALID_ENVELOPE: "A field of the envelope is missing or wrong: correct it with a patch.",
    Reason.UNKNOWN_TYPE: "This topic does not carry that type: its producer chose the wrong topic, or is newer.",
    Reason.INVALID_DATA: "A field of the payload is missing or wrong: correct it with a patch.",
    Reason.INVALID_COST: "The cost is not a valid amount: ask the producer for it, and correct it with a patch.",
    Reason.INVALID_PRICE: "The price is not an exact amount: ask the producer for it, and correct it with a patch.",
    Reason.TOKENS_MISMATCH: "The total is less than prompt plus completion: correct the wrong one with a patch.",
    Reason.TIMESTAMP_IN_FUTURE: "The producer's clock was ahead. Send it again once its timestamp has passed.",
    Reason.RECORD_TIMESTAMP_MISSING: "The producer writes no record timestamps: repair that, then send it again.",
    Reason.TOO_LATE: "Its hour can no longer be revised, and it would be refused again: bill it by hand, then drop it.",
    Reason.ORG_UNRESOLVED: "Add the team to the directory, then send the event again unchanged.",
    Reason.WRONG_PARTITION: "The record key was not the team. Send it again unchanged: redrive sets the right key.",
    Reason.UNREADABLE_BODY: "The body of the request could not be unpacked: look at the client that sends it.",
    Reason.TOO_MANY_EVENTS: "The client puts too many events into one request: make its batches smaller.",
    Reason.MISSING_EVENT_NAME: "The event has no name: add one with a patch, and fix the client.",
    Reason.MISSING_DISTINCT_ID: "distinct_id is missing: add it with a patch, and fix the client.",
    Reason.EVENT_TOO_LARGE: "The event is larger than Kafka accepts: make the client send smaller events.",
    Reason.UNREADABLE_BATCH: "Find the producer of the batch, let it send the events again, then drop this.",
    Reason.CONFLICTING_DUPLICATE: "An event with this id counts already. If both are real, patch the id; or drop this.",
}

OTHERWISE = "This version does not know the reason. The sentence above comes from whoever refused the record."
