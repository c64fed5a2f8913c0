"""Dispatches to ask about, and what ingest has to make of them, read off the specification alone.

Every row that is accepted becomes one row of a table in DuckDB. Times are whole microseconds since 1970.
"""

import csv
import gzip
import json
import random
import zoneinfo
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SLA_MINUTES = {5: 15, 4: 30, 3: 60, 2: 120, 1: 480}


def micros_of(moment):
    return (moment - EPOCH) // timedelta(microseconds=1)


def micros(text):
    """The microseconds of an RFC 3339 text, whole."""
    return micros_of(datetime.fromisoformat(text.replace("Z", "+00:00")))


def rfc3339(at, offset_hours=0):
    zone = timezone(timedelta(hours=offset_hours))
    return (EPOCH + timedelta(microseconds=at)).astimezone(zone).isoformat().replace("+00:00", "Z")


def floor_to(at, width):
    return at // width * width  # Python's // rounds down, also below zero


@dataclass
class Org:
    """One organisation: its input, and what has to become of it."""

    org_id: str
    retention_hours: int
    #: What the command line is given: options and bytes of standard input, or a file.
    ingest: list
    stdin: bytes = b""
    accepted: list = field(default_factory=list)
    counts: dict = field(default_factory=lambda: {"accepted": 0, "duplicates": 0, "rejected": 0})
    reasons: dict = field(default_factory=lambda: {"invalid": 0, "in_future": 0, "too_late": 0})

    def take(self, row, now):
        """Judges one row as ingest has to: invalid, in_future, too_late, duplicate, in this order."""
        if row["invalid"]:
            return self._reject("invalid")
        if row["ts"] > now + 5 * MINUTE:
            return self._reject("in_future")
        earliest = self._earliest()
        if earliest is not None and row["ts"] < earliest:
            return self._reject("too_late")
        held = self._held.get(row["event_id"])
        if held is not None and (earliest is None or held >= earliest):
            self.counts["duplicates"] += 1
            return
        self._held[row["event_id"]] = row["ts"]
        self._watermark = row["ts"] if self._watermark is None else max(self._watermark, row["ts"])
        self.counts["accepted"] += 1
        self.accepted.append(row)

    def __post_init__(self):
        self._held, self._watermark = {}, None

    def _earliest(self):
        if self.retention_hours == 0 or self._watermark is None:
            return None
        return floor_to(self._watermark - self.retention_hours * HOUR, MINUTE)

    def _reject(self, reason):
        self.counts["rejected"] += 1
        self.reasons[reason] += 1


REGIONS = ["B01", "B02", "B10", "north/east", "Zürich", "x" * 128]
UNIT_TYPES = ["ENGINE", "MEDIC", "RESCUE CAPTAIN"]


def random_orgs(seed, now):
    """Organisations whose dispatches only the seed decides, apart from `now`, which no dispatch lies near."""
    dice = random.Random(f"dispatches {seed}")
    today = micros("2026-01-31T12:00:00Z")
    # (name, retention, first instant, span, how many, extra dispatches in one and the same minute)
    shapes = [
        ("now", 0, today, 3 * DAY, 1_200, 0),
        ("zürich 1", 0, -2 * DAY, 4 * DAY, 1_200, 0),  # across 1970
        ("medieval", 0, micros("0987-06-05T04:03:02Z"), 40 * DAY, 300, 0),
        ("forgetful", 6, today, 2 * DAY, 1_500, 0),
        ("sparse", 0, micros("1999-12-01T00:00:00Z"), 900 * DAY, 60, 0),
        ("flood", 0, today, 2 * HOUR, 300, 5_000),  # more than 4,096 samples in one minute
    ]
    return [_random_org(dice, now, *shape) for shape in shapes]


def _random_org(dice, now, org_id, retention_hours, first, span, count, flood):
    org = Org(org_id, retention_hours, ["-"])
    flooded = floor_to(first + span // 2, MINUTE)
    rows = [_random_row(dice, f"e-{n}", first, span) for n in range(count)]
    rows += [_random_row(dice, f"f-{n}", flooded, MINUTE) for n in range(flood)]
    if retention_hours:
        rows.sort(key=lambda row: row["ts"] + dice.randrange(0, 9 * HOUR))  # late, now and then too late
    else:
        dice.shuffle(rows)
    for _ in range(count // 20):
        # The same id with something else in it, before or after the first one: whichever comes first counts.
        again = _judged(dict(dice.choice(rows), response=dice.uniform(0, 90)))
        rows.insert(dice.randrange(len(rows)), again)
    rows.insert(len(rows) // 2, dict(_random_row(dice, "ahead", first, span), ts=micros("9000-01-01T00:00:00Z")))
    for row in rows:
        org.take(row, now)
    org.stdin = "".join(json.dumps(_as_event(dice, row)) + "\n" for row in rows).encode()
    return org


def _random_row(dice, event_id, first, span):
    ts = first + dice.randrange(span)
    ts = dice.choice([ts, ts, ts, floor_to(ts, MINUTE), floor_to(ts, HOUR), floor_to(ts, MINUTE) - 1, floor_to(ts, SECOND)])
    severity = dice.randint(1, 5)
    response = dice.choice(
        [round(dice.lognormvariate(1.5, 1.0), 2), dice.lognormvariate(1.5, 1.0), float(dice.randrange(600)), 0.1, 0.0, -0.0]
    )
    if dice.random() < 0.002:
        response = 1e12
    invalid = dice.random() < 0.01
    row = {
        "event_id": event_id,
        "dispatch_id": f"d-{dice.randrange(400)}",
        "ts": ts,
        "severity": dice.choice([0, 6, -1]) if invalid else severity,
        "response": response,
        "distance": dice.choice([0.0, 1.25, dice.uniform(0, 40)]),
        "region": dice.choice(REGIONS[: dice.randint(1, len(REGIONS))]),
        "unit_type": dice.choice(UNIT_TYPES),
        "status": dice.choice(["closed"] * 8 + ["active", "pending"]),
        "reported_met": dice.choice([None, None, True, False]),
        "invalid": invalid,
    }
    return _judged(row)


def _judged(row):
    """The row with whether its target was met: as reported, else by the target of its severity."""
    met = row["reported_met"]
    if met is None:
        met = row["response"] <= SLA_MINUTES.get(row["severity"], 0)
    return dict(row, met=met)


def _as_event(dice, row):
    event = {
        "event_id": row["event_id"],
        "dispatch_id": row["dispatch_id"],
        "timestamp": rfc3339(row["ts"], dice.choice([0, 0, 1, -8])),
        "severity": row["severity"],
        "response_time_minutes": row["response"],
        "distance_km": row["distance"],
        "region": row["region"],
        "unit_type": row["unit_type"],
    }
    if row["reported_met"] is not None:
        event["sla_met"] = row["reported_met"]
    if row["status"] != "closed" or dice.random() < 0.5:
        event["status"] = row["status"]
    return event


def real_org(csv_file, mapping_file, now):
    """San Francisco's file, its columns understood as the comments of the shipped mapping say."""
    zone = zoneinfo.ZoneInfo("America/Los_Angeles")
    severities = {"E": 5, "3": 4, "2": 3, "C": 3, "1": 2, "B": 2, "A": 1, "I": 1}
    allowed = {"E": 5, "3": 10, "2": 20, "C": 20, "1": 45, "B": 45, "A": 120, "I": 120}
    org = Org("sffd", 0, ["--mapping", str(mapping_file), str(csv_file)])
    opened = gzip.open(csv_file, "rt", newline="") if str(csv_file).endswith(".gz") else open(csv_file, newline="")
    with opened as file:
        for line in csv.DictReader(file):
            if line["AvailableDtTm"]:
                local = datetime.strptime(line["AvailableDtTm"], "%m/%d/%Y %I:%M:%S %p")
            else:
                local = datetime.strptime(line["CallDate"], "%m/%d/%Y")
            response = float(line["Delay"])
            row = {
                "event_id": line["RowID"],
                "dispatch_id": line["CallNumber"],
                # The first of two equal hours; an hour that was skipped moves on with the clocks.
                "ts": micros_of(local.replace(tzinfo=zone, fold=0).astimezone(timezone.utc)),
                "severity": severities[line["Priority"]],
                "response": response,
                "distance": 0.0,
                "region": line["Battalion"],
                "unit_type": line["UnitType"],
                "status": "closed",
                "met": response <= allowed[line["Priority"]],
                "invalid": False,
            }
            org.take(row, now)
    return org
