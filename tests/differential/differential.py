"""Asks the binary and DuckDB the same questions and lists every difference. Run it through `run`, which prepares it."""

import argparse
import json
import pathlib
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import datetime, timezone

from dispatches import micros, micros_of, random_orgs, real_org
from oracle import Oracle, Refused
from questions import random_question

#: What a percentile that says `"exact": false` may be off by.
SKETCH_ERROR_MAX = 0.005
#: A percentile may come from a sketch when a minute holds more samples than this, never when the whole window does not.
MINUTE_SAMPLES_EXACT = 4_096


class World:
    """One set of organisations, in a journal and in DuckDB."""

    def __init__(self, name, orgs, ionveil, data):
        self.name, self.orgs, self.ionveil, self.data = name, orgs, ionveil, data
        for org in orgs:
            options = ["ingest", "--org", org.org_id, "--retention-hours", str(org.retention_hours)]
            summary = self.run(options + org.ingest, org.stdin)[0]
            expected = dict(org.counts, rejected_reasons=org.reasons)
            met = {key: summary[key] for key in expected}
            assert met == expected, f"ingest of {org.org_id}: {met}, expected {expected}"
        self.head = self._find_positions()
        self.oracle = Oracle(orgs)

    def run(self, arguments, stdin=b""):
        """The document, or the error, of one run."""
        command = [self.ionveil, "--data", self.data, "--json", *arguments]
        ran = subprocess.run(command, input=stdin, capture_output=True, check=False)
        if ran.returncode == 0:
            return json.loads(ran.stdout), None
        assert ran.stdout == b"", "an error has to leave stdout empty"
        return None, json.loads(ran.stderr.splitlines()[-1])["error"]

    def _find_positions(self):
        """Where each accepted row stands in the journal, so that questions can be asked as of a position."""
        export = [self.ionveil, "--data", self.data, "--json", "journal", "export"]
        accepted = {org.org_id: iter(org.accepted) for org in self.orgs}
        head = 0
        with subprocess.Popen(export, stdout=subprocess.PIPE) as exporting:
            for line in exporting.stdout:
                entry = json.loads(line)
                head = entry["position"]
                if entry["type"] == "dispatch-recorded":
                    row = next(accepted[entry["stream"].split("/", 1)[1]])
                    assert entry["payload"]["event_id"] == row["event_id"], f"position {head} holds another event"
                    row["position"] = head
        assert exporting.returncode == 0 and all(next(rows, None) is None for rows in accepted.values())
        return head

    def ask(self, question):
        """The differences between the two answers: none, or sentences."""
        before = now()
        answer, error = self.run(question.arguments())
        after = now()
        answer = None if error else normal(question, answer)
        # Some answers name the instant that the binary took for now. It has to lie within the run.
        told = [at for at in instants(answer) if before <= at <= after]
        try:
            expected = self.oracle.answer(question, told[0] if told else before)
        except Refused as refused:
            field = str(refused)
            is_right = error is not None and (error["kind"], error.get("field")) == ("invalid", field)
            return [] if is_right else [f"has to be refused for {field}, got {error or answer}"], "refused"
        if error is not None:
            return [f"was refused: {error}"], "refused"
        differences = []
        compare(answer, expected, "answer", differences)
        return differences, "empty" if not answer else "sketch" if '"exact": false' in json.dumps(answer) else "exact"


def now():
    return micros_of(datetime.now(timezone.utc))


def normal(question, answer):
    """An answer with its instants as microseconds."""

    def metric(entry):
        return dict(entry, window_start=micros(entry["window_start"]), window_end=micros(entry["window_end"]))

    if question.command == "metric":
        return [metric(entry) for entry in answer]
    if question.command == "snapshot":
        return dict(answer, timestamp=micros(answer["timestamp"]), metrics=[metric(entry) for entry in answer["metrics"]])
    if question.command == "compliance":
        compared = ["sample_count", "within", "share", "met", "fractile_minutes", "mean_minutes"]
        groups = answer["requirements"][0]["groups"]
        return {
            group["dimensions"].get(question.by, "all"): {key: group[key] for key in compared} for group in groups
        }
    return answer


def instants(answer):
    """The last instants that an answer names."""
    if isinstance(answer, list):
        return [entry["window_end"] for entry in answer]
    return [answer["timestamp"]] if answer and "timestamp" in answer else []


def compare(met, expected, where, differences):
    """Adds a sentence for each place where the two are not equal."""
    if isinstance(expected, dict) and isinstance(met, dict):
        exact = met.get("exact", True) if "metric_name" in expected else True
        if not exact and may_be_sketched(expected):
            met = dict(met, value=within(met["value"], expected["value"]))
        elif not exact:
            differences.append(f"{where} is not exact, with {expected['sample_count']} samples")
        if "metric_name" in expected:
            met = {key: value for key, value in met.items() if key != "exact"}
        for key in sorted(met.keys() | expected.keys()):
            if key not in met or key not in expected:
                differences.append(f"{where}.{key} is only in {'the answer' if key in met else 'what is expected'}")
            else:
                compare(met[key], expected[key], f"{where}.{key}", differences)
    elif isinstance(expected, list) and isinstance(met, list):
        if len(met) != len(expected):
            differences.append(f"{where} has {len(met)} entries, expected {len(expected)}")
        for index, pair in enumerate(zip(met, expected)):
            compare(*pair, f"{where}[{index}]", differences)
    elif met != expected:
        differences.append(f"{where} is {met!r}, expected {expected!r}")


def may_be_sketched(expected):
    return expected["aggregation"][0] == "p" and expected["sample_count"] > MINUTE_SAMPLES_EXACT


def within(met, expected):
    """The expected value when the one that was met is near enough."""
    return expected if abs(met - expected) <= SKETCH_ERROR_MAX * abs(expected) else met


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ionveil", required=True, help="the binary")
    parser.add_argument("--root", type=pathlib.Path, required=True, help="the repository")
    parser.add_argument("--queries", type=int, default=50, help="questions about each of the two sets of rows")
    parser.add_argument("--seed", type=int, default=1970)
    parser.add_argument("--real", type=pathlib.Path, help="the full San Francisco file instead of the extract")
    parser.add_argument("--only", metavar="SET:N", help="one question, as a failure names it")
    args = parser.parse_args()

    real = args.real or args.root / "examples/sf-fire-calls-extract.csv"
    only = args.only.rsplit(":", 1) if args.only else None
    makers = {
        "random": lambda: random_orgs(args.seed, now()),
        "real": lambda: [real_org(real.resolve(), args.root / "examples/sf-fire-calls.toml", now())],
    }
    failures = 0
    for name, make in makers.items():
        if only and only[0] != name:
            continue
        with tempfile.TemporaryDirectory() as directory:
            world = World(name, make(), args.ionveil, f"{directory}/data")
            numbers = [int(only[1])] if only else range(args.queries)
            kinds = Counter()
            for number in numbers:
                question = random_question(args.seed, number, world.orgs, world.head)
                differences, kind = world.ask(question)
                kinds[kind] += 1
                if differences:
                    failures += 1
                    report(args, name, number, question, differences)
            rows = sum(len(org.accepted) for org in world.orgs)
            told = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            print(f"{name}: {len(numbers)} questions over {rows} rows, seed {args.seed}: {told}", flush=True)
    if failures:
        sys.exit(f"{failures} answers differ from DuckDB's")
    print("no answer differs from DuckDB's")


def report(args, name, number, question, differences):
    again = ["tests/differential/run", "--seed", str(args.seed), "--only", f"{name}:{number}"]
    again += ["--real", str(args.real)] if args.real else []
    print(f"\nDIFFERENT: {name}:{number}, seed {args.seed}: ionveil {shlex.join(question.arguments())}")
    for difference in differences[:10]:
        print(f"  {difference}")
    if len(differences) > 10:
        print(f"  and {len(differences) - 10} more")
    print(f"  again: {shlex.join(again)}", flush=True)


if __name__ == "__main__":
    main()
