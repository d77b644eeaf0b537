"""A photograph comes into a bucket: a function makes a thumbnail beside it and writes what it is into a table."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent
sys.path.insert(0, str(EXAMPLES))

from shared.aws import Place, allow, bucket, function, package, remove_bucket, remove_role, role, table, unless, until  # noqa: E402
from shared.pillow import PYTHONS, newest_python, pillow_layer  # noqa: E402

NAME = "photographs"  # of the function, its role, its layer and the table
ORIGINALS, THUMBNAILS = "originals/", "thumbnails/"
PHOTOGRAPH = EXAMPLES / "thumbnail" / "rocket.jpg"


def main():
    aws = Place(__doc__)
    name = f"{NAME}-{aws.account}"  # buckets' names are everybody's at AWS
    if aws.remove:
        remove(aws, name)
        return
    bucket(aws, name)
    table(aws, NAME, key="photograph")
    arn = make_function(aws, name)
    allow(aws, NAME, "s3", f"arn:aws:s3:::{name}")
    # Only what comes under originals/: else each thumbnail would call the function again.
    rules = {"Key": {"FilterRules": [{"Name": "prefix", "Value": ORIGINALS}]}}
    call = {"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"], "Filter": rules}
    aws("s3").put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration={"LambdaFunctionConfigurations": [call]}
    )

    key = {"photograph": {"S": f"{ORIGINALS}rocket.jpg"}}
    aws("dynamodb").delete_item(TableName=NAME, Key=key)  # of an earlier run
    aws("s3").upload_file(str(PHOTOGRAPH), name, f"{ORIGINALS}rocket.jpg")
    item = until(lambda: aws("dynamodb").get_item(TableName=NAME, Key=key).get("Item"), "An item in the table")
    thumbnail = aws("s3").get_object(Bucket=name, Key=item["thumbnail"]["S"])
    print(f"s3://{name}/{ORIGINALS}rocket.jpg became s3://{name}/{item['thumbnail']['S']}, "
          f"{thumbnail['ContentLength']:,} bytes. The table {NAME} says of it:")  # fmt: skip
    for member, value in sorted(item.items()):
        print(f"    {member:<12}{next(iter(value.values()))}")
    where = f" --endpoint-url {aws.endpoint}" if aws.endpoint else ""
    print(f"Next: aws s3 cp PICTURE s3://{name}/{ORIGINALS}{where}; aws dynamodb scan --table-name {NAME}{where}")


def make_function(aws, bucket_name):
    runtime = PYTHONS[1] if aws.is_aws else newest_python()
    folder = pillow_layer(runtime)
    files = [(str(path.relative_to(folder)), path) for path in sorted(folder.rglob("*")) if path.is_file()]
    layer = aws("lambda").publish_layer_version(LayerName=NAME, Content={"ZipFile": package(*files)})
    may = [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket_name}/{ORIGINALS}*"},
        {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket_name}/{THUMBNAILS}*"},
        {"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*"},
    ]
    return function(
        aws, NAME,
        package(
            ("photographs.py", HERE / "function" / "photographs.py"),
            ("thumbnail.py", EXAMPLES / "thumbnail" / "function" / "thumbnail.py"),
        ),
        Runtime=runtime, Handler="photographs.handler", Role=role(aws, NAME, may), Layers=[layer["LayerVersionArn"]],
        MemorySize=512, Timeout=30, Environment={"Variables": {"THUMBNAILS": THUMBNAILS, "TABLE": NAME}},
    )  # fmt: skip


def remove(aws, bucket_name):
    remove_bucket(aws, bucket_name)
    unless("ResourceNotFoundException", aws("lambda").delete_function, FunctionName=NAME)
    for layer in aws("lambda").list_layer_versions(LayerName=NAME)["LayerVersions"]:
        aws("lambda").delete_layer_version(LayerName=NAME, VersionNumber=layer["Version"])
    unless("ResourceNotFoundException", aws("dynamodb").delete_table, TableName=NAME)
    remove_role(aws, NAME)


if __name__ == "__main__":
    main()
