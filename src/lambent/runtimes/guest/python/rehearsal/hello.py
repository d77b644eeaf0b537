"""The function that is rehearsed: what handlers have in common."""

import json


def handler(event, context):
    return {"statusCode": 200, "body": json.dumps(event), "by": context.aws_request_id}
