"""The answers as the specification has them, computed by DuckDB over the accepted rows.

DuckDB decides what counts, what lies in which window and in which order the values are; only sums are added up here, by
`math.fsum`, since they have to be exact whatever the order, which no sum of DuckDB's is.
"""

import csv
import math
import os
import tempfile

import duckdb

from dispatches import HOUR, MINUTE, floor_to
from questions import WINDOWS

WINDOWS_MAX = 100_000
COLUMNS = {
    "org_id": "VARCHAR", "position": "BIGINT", "ts": "BIGINT", "dispatch_id": "VARCHAR", "severity": "INTEGER",
    "response": "DOUBLE", "distance": "DOUBLE", "region": "VARCHAR", "unit_type": "VARCHAR", "status": "VARCHAR",
    "met": "INTEGER",
}  # fmt: skip
VALUE = {"response_time": "response", "distance": "distance", "sla_compliance": "CAST(met AS DOUBLE)", "dispatch_count": "1.0"}


class Refused(Exception):
    """The question has to be refused as invalid, naming this field."""


class Oracle:
    def __init__(self, orgs):
        self.retention_hours = {org.org_id: org.retention_hours for org in orgs}
        self.duck = duckdb.connect()
        self.duck.execute("CREATE MACRO floor_to(x, width) AS x - ((x % width) + width) % width")
        self._load(orgs)

    def _load(self, orgs):
        rows = [dict(row, org_id=org.org_id, met=int(row["met"])) for org in orgs for row in org.accepted]
        with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="", delete=False, encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(COLUMNS), extrasaction="ignore", quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
        try:
            self.duck.execute(
                f"CREATE TABLE rows AS SELECT * FROM read_csv('{file.name}', header = true, columns = {COLUMNS!r})"
            )
        finally:
            os.unlink(file.name)
        loaded = self.duck.execute(f"SELECT {', '.join(COLUMNS)} FROM rows ORDER BY position").fetchall()
        rows.sort(key=lambda row: row["position"])
        assert loaded == [tuple(row[name] for name in COLUMNS) for row in rows], "DuckDB read other rows than were written"

    def answer(self, question, now):
        """What the question's document has to say, as `normal` shapes it."""
        self._keep(question)
        return getattr(self, question.command)(question, now)

    def _keep(self, question):
        """Makes `kept`: what is known of the org at the position and not forgotten."""
        position = question.at_position if question.at_position is not None else 1 << 62
        known = "FROM rows WHERE org_id = $org AND position <= $position"
        given = {"org": question.org_id, "position": position}
        self.latest = self.duck.execute(f"SELECT max(ts) {known}", given).fetchone()[0]
        hours = self.retention_hours.get(question.org_id, 24)
        horizon = f"(SELECT floor_to(max(ts) - {hours} * {HOUR}, {MINUTE}) {known})" if hours else str(-(1 << 62))
        self.duck.execute(f"CREATE OR REPLACE TEMP TABLE kept AS SELECT * {known} AND ts >= {horizon}", given)

    def _instant(self, instant, now):
        if instant == "latest":
            return now if self.latest is None else self.latest + 1
        return instant

    def _span(self, question, now):
        as_of = self._instant(question.as_of, now)
        end = self._instant(question.end, now)
        end = end if end is not None else (as_of if as_of is not None else now)
        end = end if as_of is None else min(end, as_of)
        start = self._instant(question.start, now)
        start = start if start is not None else end - HOUR
        if start >= end:
            raise Refused("start")
        return start, end

    def metric(self, question, now):
        start, end = self._span(question, now)
        width = WINDOWS[question.window]
        if width is None:
            first, last, width = start, start, end - start
        else:
            first, last = floor_to(start, width), floor_to(end - 1, width)
        if (last - first) // width + 1 > WINDOWS_MAX:
            raise Refused("window")
        dimensions = {
            name: getattr(question, name)
            for name in ["region", "severity", "unit_type"]
            if getattr(question, name) is not None
        }
        held = self._windows(question.metric, question.aggregation, first, last + width, width, dimensions)
        lists_empty = (
            question.include_empty or question.metric == "dispatch_count" or question.aggregation in ("sum", "count")
        )
        if lists_empty:
            from_ = first if question.start is not None else min(held, default=None)
            to = last if question.end is not None else max(held, default=None)
            starts = range(from_, to + 1, width) if from_ is not None and to is not None else []
        else:
            starts = sorted(held)
        return [
            self._metric(question.metric, question.aggregation, at, at + width, dimensions, *held.get(at, (0, None)))
            for at in starts
        ]

    def _metric(self, metric, aggregation, start, end, dimensions, count, value):
        if count == 0:
            value = 0.0 if metric == "dispatch_count" or aggregation in ("sum", "count") else None
        return {
            "metric_name": metric, "aggregation": aggregation, "window_start": start, "window_end": end,
            "dimensions": {name: str(value) for name, value in dimensions.items()}, "sample_count": count, "value": value,
        }  # fmt: skip

    def _windows(self, metric, aggregation, start, end, width, dimensions, by_region=False):
        """Count and value of each window of `[start, end)` that holds a closed dispatch, by its start or its region."""
        matching = "".join(f" AND {name} = ${name}" for name in dimensions)
        key = "region" if by_region else f"$start + (ts - $start) // {width} * {width}"
        percent = int(aggregation[1:]) if aggregation[0] == "p" else 50
        found = self.duck.execute(
            f"""WITH samples AS (SELECT {key} AS place, {VALUE[metric]} AS value FROM kept
                    WHERE status = 'closed' AND ts >= $start AND ts < $end{matching}),
                ranked AS (SELECT *, row_number() OVER (PARTITION BY place ORDER BY value) AS rank,
                    count(*) OVER (PARTITION BY place) AS count FROM samples)
                SELECT place, count(*), list(value), min(value), max(value),
                    max(value) FILTER (WHERE rank = ({percent} * count + 99) // 100) FROM ranked GROUP BY place""",
            {"start": start, "end": end, **dimensions},
        ).fetchall()
        return {
            place: (count, self._value(metric, aggregation, count, values, *ordered))
            for place, count, values, *ordered in found
        }

    @staticmethod
    def _value(metric, aggregation, count, values, least, most, percentile):
        if metric == "dispatch_count" or aggregation == "count":
            return float(count)
        if aggregation in ("sum", "avg"):
            total = math.fsum(values)
            return total if aggregation == "sum" else total / count
        return {"min": least, "max": most}.get(aggregation, percentile)

    def snapshot(self, question, now):
        as_of = self._instant(question.as_of, now)
        as_of = now if as_of is None else as_of
        end = floor_to(as_of - 1, MINUTE) + MINUTE
        start = end - HOUR
        headline = [("response_time", a) for a in ["avg", "p50", "p90", "p95", "p99", "max"]]
        headline += [("distance", "avg"), ("dispatch_count", "count"), ("sla_compliance", "avg")]
        metrics, values = [], {}
        for metric, aggregation in headline:
            count, value = self._windows(metric, aggregation, start, end, HOUR, {}).get(start, (0, None))
            values[metric, aggregation] = value
            if count or metric == "dispatch_count":
                metrics.append(self._metric(metric, aggregation, start, end, {}, count, value))
        for metric, aggregation in [("response_time", "p90"), ("dispatch_count", "count")]:
            regions = self._windows(metric, aggregation, start, end, HOUR, {}, by_region=True)
            for region, (count, value) in sorted(regions.items()):
                metrics.append(self._metric(metric, aggregation, start, end, {"region": region}, count, value))
        statuses = dict(
            self.duck.execute(
                """WITH latest AS (SELECT *, row_number() OVER (PARTITION BY dispatch_id
                        ORDER BY ts DESC, list_position(['closed', 'active', 'pending'], status)) AS place
                        FROM kept WHERE ts < $as_of)
                    SELECT status, count(*) FROM latest WHERE place = 1 GROUP BY status""",
                {"as_of": as_of},
            ).fetchall()
        )
        compliance = values["sla_compliance", "avg"]
        return {
            "org_id": question.org_id,
            "timestamp": as_of,
            "metrics": metrics,
            "active_dispatches": statuses.get("active", 0),
            "pending_dispatches": statuses.get("pending", 0),
            "sla_compliance_rate": 1.0 if compliance is None else compliance,
            "average_response_time": values["response_time", "avg"],
            "alerts": [],
        }

    def compliance(self, question, now):
        """Against the targets that came with the dispatches; what retention has forgotten counts as well."""
        start, end = self._instant(question.start, now), self._instant(question.end, now)
        if start is not None and end is not None and start >= end:
            raise Refused("start")
        position = question.at_position if question.at_position is not None else 1 << 62
        found = self.duck.execute(
            f"""WITH closed AS (SELECT CAST({question.by} AS VARCHAR) AS part, response, met FROM rows
                    WHERE org_id = $org AND position <= $position AND status = 'closed'
                    AND ts >= $start AND ts < $end),
                counted AS (SELECT * FROM closed UNION ALL SELECT NULL, response, met FROM closed),
                ranked AS (SELECT *, row_number() OVER (PARTITION BY part ORDER BY response) AS rank,
                    count(*) OVER (PARTITION BY part) AS count FROM counted)
                SELECT part, count(*), sum(met), max(response) FILTER (WHERE rank = (90 * count + 99) // 100),
                    list(response) FROM ranked GROUP BY part""",
            {
                "org": question.org_id, "position": position,
                "start": -(1 << 62) if start is None else start, "end": 1 << 62 if end is None else end,
            },  # fmt: skip
        ).fetchall()
        groups = {
            "all" if part is None else part: {
                "sample_count": count, "within": within, "share": within / count, "met": within * 10 >= count * 9,
                "fractile_minutes": fractile, "mean_minutes": math.fsum(values) / count,
            }  # fmt: skip
            for part, count, within, fractile, values in found
        }
        nothing = {"sample_count": 0, "within": 0, "share": None, "met": None, "fractile_minutes": None, "mean_minutes": None}
        return {"all": nothing, **groups}

    def regions(self, question, now):
        start, end = self._span(question, now)
        figures = {
            "avg_response": ("response_time", "avg"), "p50_response": ("response_time", "p50"),
            "p90_response": ("response_time", "p90"), "sla_compliance": ("sla_compliance", "avg"),
            "avg_distance": ("distance", "avg"),
        }  # fmt: skip
        regions = {}
        for name, (metric, aggregation) in figures.items():
            found = self._windows(metric, aggregation, start, end, end - start, {}, by_region=True)
            for region, (count, value) in found.items():
                regions.setdefault(region, {"dispatch_count": count})[name] = value
        return regions
