"""Does one step of an order after the other, each customer's in the order in which they were sent.

A step that fails holds up its customer alone: it and what comes after it in the same group are reported as failed and come again.
At its last attempt only the step itself is: the queue moves it to the dead letters. What comes after it was received as often, and would
go there too if it had to wait once more.
Environment: TABLE, which keeps for each customer what was done; ATTEMPTS, how often the queue gives a message.
"""

import json
import os

import boto3
from botocore.exceptions import ClientError

dynamodb = boto3.client("dynamodb")


def handler(event, context):
    stuck, failures = set(), []
    for record in event["Records"]:
        customer = record["attributes"]["MessageGroupId"]
        if customer not in stuck:
            try:
                do(customer, record["messageId"], json.loads(record["body"]))
                continue
            except (ValueError, KeyError) as problem:
                print(f"{customer}: {problem!r}")
                if int(record["attributes"]["ApproximateReceiveCount"]) < int(os.environ["ATTEMPTS"]):
                    stuck.add(customer)
        failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}


def do(customer, message_id, step):
    """Writes the step down, once however often it comes."""
    if step["price"] <= 0:
        raise ValueError(f"{step['order']} costs {step['price']}")
    try:
        dynamodb.update_item(
            TableName=os.environ["TABLE"], Key={"customer": {"S": customer}},
            UpdateExpression="SET steps = list_append(if_not_exists(steps, :none), :step) ADD seen :id",
            ConditionExpression="NOT contains(seen, :one)",
            ExpressionAttributeValues={
                ":none": {"L": []}, ":step": {"L": [{"S": f"{step['order']} {step['step']}"}]},
                ":id": {"SS": [message_id]}, ":one": {"S": message_id},
            },
        )  # fmt: skip
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
