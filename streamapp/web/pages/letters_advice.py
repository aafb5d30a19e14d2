"""What a person can do about a letter, by the reason of the refusal."""

from __future__ import annotations

from collections.abc import Mapping

from streamapp.schemas.judging.rejected import Reason

ADVICE: Mapping[str, str] = {
    Reason.EMPTY_VALUE: "There is nothing to bill. Find the producer that sends empty records, then drop the letter.",
    Reason.MALFORMED_JSON: "Write the bytes to a file, repair them, and send the letter again with --value.",
    Reason.INVALID_ENVELOPE: "A field of the envelope is missing or wrong: put it right with a patch.",
    Reason.UNKNOWN_TYPE: "This topic does not carry that type: its producer chose the wrong topic, or is newer.",
    Reason.INVALID_DATA: "A field of the payload is missing or wrong: put it right with a patch.",
    Reason.INVALID_COST: "The cost is no amount: ask the producer what it was, and put it right with a patch.",
    Reason.INVALID_PRICE: "The price is no exact amount: ask the producer what it was, and put it right with a patch.",
    Reason.TOKENS_MISMATCH: "The total is less than prompt and completion: put the wrong one right with a patch.",
    Reason.TIMESTAMP_IN_FUTURE: "A clock of the producer was ahead. Once its time has come, the event can go as it is.",
    Reason.RECORD_TIMESTAMP_MISSING: "Its producer writes records without a timestamp: mend it, then send it.",
    Reason.TOO_LATE: "Its hour can no longer be revised, and it would be refused again: bill it by hand, then drop it.",
    Reason.ORG_UNRESOLVED: "Add the team to the directory; then the event goes as it is.",
    Reason.WRONG_PARTITION: "Its key was not its team. Sending it again puts it right, nothing need be changed.",
    Reason.UNREADABLE_BODY: "The body of the request could not be unpacked: look at the client that sends it.",
    Reason.TOO_MANY_EVENTS: "The client puts too many events into one request: make its batches smaller.",
    Reason.MISSING_EVENT_NAME: "An event without a name: give it one with a patch, and put the call right.",
    Reason.MISSING_DISTINCT_ID: "Nobody did it: say who with a patch, and put the call right.",
    Reason.EVENT_TOO_LARGE: "Kafka does not take an event of this size: make the client send less with it.",
    Reason.UNREADABLE_BATCH: "Find the producer that wrote the batch, let it send its events again, then drop this.",
    Reason.CONFLICTING_DUPLICATE: "An event with this id was counted. If both are true, patch its id; else drop it.",
}

OTHERWISE = "The reason is not one that this version knows. The sentence above is the reader's own."
