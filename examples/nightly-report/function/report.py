"""Each night: how many files are in the inbox, and how large they are. The report is an object of its own.

Event: EventBridge's of a schedule; its `time` is the time that was planned, whenever the function runs.
Environment: BUCKET; INBOX and REPORTS, prefixes in it.
"""

import json
import os

import boto3

s3 = boto3.client("s3")


def handler(event, context):
    bucket = os.environ["BUCKET"]
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=os.environ["INBOX"])
    files = [found for page in pages for found in page.get("Contents", [])]
    report = {"night": event["time"][:10], "files": len(files), "bytes": sum(found["Size"] for found in files)}
    key = f"{os.environ['REPORTS']}{report['night']}.json"  # the same for a night that is told of twice
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(report), ContentType="application/json")
    print(key, report)
    return report
