"""A function that runs each night at three and writes a report into a bucket, by a rule of EventBridge.

Where Lambent was started with --virtual-clock, three nights pass at once.
"""

import json
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from shared.aws import Place, allow, bucket, function, package, remove_bucket, remove_role, role, unless, until  # noqa: E402
from shared.pillow import PYTHONS, newest_python  # noqa: E402

NAME = "nightly-report"  # of the function, its role and the rule
HOUR = 3  # UTC
INBOX, REPORTS = "inbox/", "reports/"
NIGHTS = 3


def main():
    aws = Place(__doc__)
    name = f"{NAME}-{aws.account}"
    if aws.remove:
        remove(aws, name)
        return
    bucket(aws, name)
    may = [
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{name}"},
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{name}/{REPORTS}*"},
    ]
    arn = function(
        aws, NAME, package(("report.py", HERE / "function" / "report.py")), Handler="report.handler", Timeout=30,
        Runtime=PYTHONS[1] if aws.is_aws else newest_python(), Role=role(aws, NAME, may),
        Environment={"Variables": {"BUCKET": name, "INBOX": INBOX, "REPORTS": REPORTS}},
    )  # fmt: skip
    rule = aws("events").put_rule(Name=NAME, ScheduleExpression=f"cron(0 {HOUR} * * ? *)")["RuleArn"]
    allow(aws, NAME, "events", rule)
    aws("events").put_targets(Rule=NAME, Targets=[{"Id": "function", "Arn": arn}])
    aws("s3").put_object(Bucket=name, Key=f"{INBOX}first.txt", Body=b"Here before the first night")

    now = turn(aws, 0)
    if now is None:
        print(f"At {HOUR}:00 UTC each night there will be one more report: aws s3 ls s3://{name}/{REPORTS}")
        print("Lambent that is started with `lambent up --virtual-clock` lets nights pass as fast as you like.")
        return
    for number in range(NIGHTS):
        if number:
            aws("s3").put_object(Bucket=name, Key=f"{INBOX}day-{number}.txt", Body=b"x" * 1000 * number)
        night = next_night(now)
        now = turn(aws, (night - now).total_seconds())
        print(f"{night:%Y-%m-%d %H:%M}: {report_of(aws, name, night)}")
    print(f"The reports: aws s3 ls s3://{name}/{REPORTS} --endpoint-url {aws.endpoint}")


def next_night(now):
    night = now.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    return night if night > now else night + timedelta(days=1)


def turn(aws, seconds):
    """Turns Lambent's clock ahead. Returns its time, or None where no clock can be turned, as at AWS."""
    if aws.is_aws:
        return None
    body = json.dumps({"advance_s": seconds}).encode()
    request = urllib.request.Request(f"{aws.endpoint}/_lambent/clock", data=body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return datetime.fromtimestamp(json.load(answer)["now"], UTC)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return None


def report_of(aws, bucket_name, night):
    key = f"{REPORTS}{night:%Y-%m-%d}.json"
    found = until(lambda: unless("NoSuchKey", aws("s3").get_object, Bucket=bucket_name, Key=key), f"The report {key}")
    return json.load(found["Body"])


def remove(aws, bucket_name):
    unless("ResourceNotFoundException", aws("events").remove_targets, Rule=NAME, Ids=["function"])
    aws("events").delete_rule(Name=NAME)
    unless("ResourceNotFoundException", aws("lambda").delete_function, FunctionName=NAME)
    remove_bucket(aws, bucket_name)
    remove_role(aws, NAME)


if __name__ == "__main__":
    main()
