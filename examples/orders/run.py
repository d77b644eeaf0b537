"""Orders of several customers go through one FIFO queue to a function, each customer's in order.

One order can never be carried out: it ends in the dead-letter queue, and holds up nobody but its own customer, and that not for long.
"""

import json
import sys
import uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from shared.aws import Place, function, package, remove_role, role, table, unless, until  # noqa: E402
from shared.pillow import PYTHONS, newest_python  # noqa: E402

NAME = "orders"  # of the function, its role and the table; the queues have it with .fifo
CUSTOMERS = ("ada", "grace", "linus")
STEPS = ("placed", "paid", "packed", "sent")
TIMEOUT_S = 6
ATTEMPTS = 2  # of a message that fails, before it goes to the dead letters


def main():
    aws = Place(__doc__)
    if aws.remove:
        remove(aws)
        return
    table(aws, NAME, key="customer")
    dead = queue(aws, f"{NAME}-dead.fifo")
    redrive = {"deadLetterTargetArn": arn_of(aws, dead), "maxReceiveCount": ATTEMPTS}
    # Messages stay hidden as long as the function may take; in production AWS advises six times as long.
    orders = queue(aws, f"{NAME}.fifo", VisibilityTimeout=str(TIMEOUT_S), RedrivePolicy=json.dumps(redrive))
    may = [
        {"Effect": "Allow", "Action": "sqs:*", "Resource": arn_of(aws, orders)},
        {"Effect": "Allow", "Action": "dynamodb:UpdateItem", "Resource": "*"},
    ]
    function(
        aws, NAME, package(("orders.py", HERE / "function" / "orders.py")), Handler="orders.handler", Timeout=TIMEOUT_S,
        Runtime=PYTHONS[1] if aws.is_aws else newest_python(), Role=role(aws, NAME, may), MemorySize=256,
        Environment={"Variables": {"TABLE": NAME, "ATTEMPTS": str(ATTEMPTS)}},
    )  # fmt: skip
    unless(
        "ResourceConflictException", aws("lambda").create_event_source_mapping, FunctionName=NAME, BatchSize=10,
        EventSourceArn=arn_of(aws, orders), FunctionResponseTypes=["ReportBatchItemFailures"],
    )  # fmt: skip

    run = uuid.uuid4().hex[:6]
    sent = send(aws, orders, run)
    done = until(lambda: all_done(aws, sent), "All orders carried out")
    for customer in CUSTOMERS:
        steps = [step for step in done[customer] if step.startswith(run)]
        print(f"{customer:<8}{', '.join(step.removeprefix(run + '-') for step in steps)}")
        if steps != sent[customer]:
            raise SystemExit(f"{customer}'s steps were sent in another order: {sent[customer]}")
    letter = until(lambda: taken(aws, dead, run), "A dead letter")
    print(f"Dead letter: {letter}")
    where = f" --endpoint-url {aws.endpoint}" if aws.endpoint else ""
    print(f"Next: aws dynamodb scan --table-name {NAME}{where}; aws logs tail /aws/lambda/{NAME}{where}")


def queue(aws, name, **attributes):
    members = {"FifoQueue": "true", "ContentBasedDeduplication": "true", **attributes}
    return aws("sqs").create_queue(QueueName=name, Attributes=members)["QueueUrl"]


def arn_of(aws, url):
    return aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def send(aws, url, run):
    """Sends two orders of each customer, step by step and mixed; grace's first one has no price. Returns what must be done."""
    sent = {customer: [] for customer in CUSTOMERS}
    for number in (1, 2):
        for step in STEPS:
            for customer in CUSTOMERS:
                broken = (customer, number, step) == ("grace", 1, "paid")
                body = {"order": f"{run}-{number}", "step": step, "price": 0 if broken else 10 * number}
                aws("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(body), MessageGroupId=customer,
                                        MessageDeduplicationId=f"{run}-{customer}-{number}-{step}")  # fmt: skip
                if not broken:
                    sent[customer].append(f"{run}-{number} {step}")
    return sent


def all_done(aws, sent):
    """What was done for each customer, once that is all that was sent."""
    items = aws("dynamodb").scan(TableName=NAME, ConsistentRead=True)["Items"]
    done = {item["customer"]["S"]: [step["S"] for step in item["steps"]["L"]] for item in items}
    return done if all(set(steps) <= set(done.get(customer, ())) for customer, steps in sent.items()) else None


def taken(aws, url, run):
    """This run's dead letter, taken out of its queue."""
    for message in aws("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", []):
        aws("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        if run in message["Body"]:
            return message["Body"]
    return None


def remove(aws):
    for mapping in aws("lambda").list_event_source_mappings(FunctionName=NAME)["EventSourceMappings"]:
        aws("lambda").delete_event_source_mapping(UUID=mapping["UUID"])
    unless("ResourceNotFoundException", aws("lambda").delete_function, FunctionName=NAME)
    for name in (f"{NAME}.fifo", f"{NAME}-dead.fifo"):
        found = unless("AWS.SimpleQueueService.NonExistentQueue", aws("sqs").get_queue_url, QueueName=name)
        if found:
            aws("sqs").delete_queue(QueueUrl=found["QueueUrl"])
    unless("ResourceNotFoundException", aws("dynamodb").delete_table, TableName=NAME)
    remove_role(aws, NAME)


if __name__ == "__main__":
    main()
