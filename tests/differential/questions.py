"""Random questions, each decided by a seed and its number alone."""

import random
from dataclasses import dataclass

from dispatches import DAY, HOUR, MINUTE, floor_to, rfc3339

METRICS = ["response_time", "distance", "sla_compliance", "dispatch_count"]
AGGREGATIONS = ["sum", "count", "avg", "p50", "p90", "p95", "p99", "min", "max"]
WINDOWS = {"1m": MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE, "1h": HOUR, "6h": 6 * HOUR, "1d": DAY, "all": None}


@dataclass
class Question:
    """What is asked. Instants are microseconds, `latest`, or None where the option is left out."""

    command: str
    org_id: str
    metric: str = ""
    window: str = ""
    aggregation: str = ""
    region: str = None
    severity: int = None
    unit_type: str = None
    start: object = None
    end: object = None
    as_of: object = None
    at_position: int = None
    include_empty: bool = False
    by: str = None

    def arguments(self):
        """The question as the command line takes it."""
        given = [self.command, "--org", self.org_id]
        if self.command == "metric":
            given += ["--metric", self.metric, "--window", self.window, "--agg", self.aggregation]
        for name in ["region", "severity", "unit_type"]:
            if getattr(self, name) is not None:
                given += ["--dim", f"{name}={getattr(self, name)}"]
        for name in ["start", "end", "as_of"]:
            instant = getattr(self, name)
            if instant is not None:
                given += ["--" + name.replace("_", "-"), instant if instant == "latest" else rfc3339(instant)]
        if self.by is not None:
            given += ["--by", self.by]
        if self.at_position is not None:
            given += ["--at-position", str(self.at_position)]
        if self.include_empty:
            given += ["--include-empty"]
        return given


def random_question(seed, number, orgs, head):
    """The question of that number. `head` is the journal's last position."""
    dice = random.Random(f"question {seed} {number}")
    org = dice.choice(orgs)
    commands = ["metric"] * 6 + ["snapshot", "snapshot", "regions", "regions", "compliance"]
    question = Question(dice.choice(commands), org.org_id)
    some_time = lambda: _instant(dice, org)
    if question.command != "regions" and dice.random() < 0.3:
        question.at_position = dice.randrange(head + 3)
    if question.command == "snapshot":
        question.as_of = dice.choice(["latest", some_time(), some_time(), None])
        return question
    if question.command == "compliance":
        question.by = dice.choice(["severity", "region", "unit_type"])
    if question.command == "metric":
        question.metric, question.aggregation = dice.choice(METRICS), dice.choice(AGGREGATIONS)
        question.window = dice.choice(list(WINDOWS))
        question.include_empty = dice.random() < 0.3
        row = dice.choice(org.accepted)
        if dice.random() < 0.4:
            question.region = dice.choice([row["region"], row["region"], "nowhere"])
        if dice.random() < 0.4:
            question.severity = row["severity"]
        if dice.random() < 0.4:
            question.unit_type = row["unit_type"]
        if dice.random() < 0.3:
            question.as_of = dice.choice(["latest", some_time(), some_time()])
    if dice.random() < 0.85:
        question.start = some_time()
    if dice.random() < 0.75:
        # Most spans are short enough for the window; the others show that too many windows are refused.
        width = WINDOWS.get(question.window) or HOUR
        most = dice.choice([3, 40, 400, 4_000])
        if question.start is not None and dice.random() < 0.9:
            question.end = question.start + dice.choice([width, dice.randrange(1, most * width), dice.randrange(1, most) * width])
        else:
            question.end = dice.choice(["latest", some_time()])
    return question


def _instant(dice, org):
    """An instant near the org's dispatches, often on an edge."""
    at = dice.choice(org.accepted)["ts"]
    at = dice.choice([at, at, at + 1, floor_to(at, MINUTE), floor_to(at, HOUR), floor_to(at, DAY), at + dice.randrange(-DAY, DAY)])
    return at
