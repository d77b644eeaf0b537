"""Makes a thumbnail of each photograph that comes into the bucket, and writes down what the photograph is.

Environment: THUMBNAILS, the prefix for thumbnails in the same bucket; TABLE, the table for what is known of each photograph.
"""

import io
import os
import urllib.parse

import boto3
from PIL import Image, ImageOps
from thumbnail import in_srgb

SIDE = 200  # pixels that a thumbnail may be wide and high
EXIF_CAMERA, EXIF_TAKEN = 0x0110, 0x0132

s3, dynamodb = boto3.client("s3"), boto3.client("dynamodb")


def handler(event, context):
    for record in event["Records"]:
        bucket = record["s3"]["bucket"]["name"]
        key = urllib.parse.unquote_plus(record["s3"]["object"]["key"])  # S3 writes it as web forms do
        keep(bucket, key)


def keep(bucket, key):
    found = s3.get_object(Bucket=bucket, Key=key)
    content = found["Body"].read()
    picture = Image.open(io.BytesIO(content))
    exif = picture.getexif()
    known = {"width": picture.width, "height": picture.height, "bytes": len(content), "format": picture.format,
             "camera": exif.get(EXIF_CAMERA), "taken": exif.get(EXIF_TAKEN), "etag": found["ETag"]}  # fmt: skip
    thumbnail = os.environ["THUMBNAILS"] + os.path.basename(key)
    s3.put_object(Bucket=bucket, Key=thumbnail, Body=small(picture), ContentType="image/jpeg")
    # The photograph's key is the item's: an event that comes twice, as any may, changes nothing.
    item = {"photograph": {"S": key}, "thumbnail": {"S": thumbnail}}
    for name, value in known.items():
        if value is not None:
            item[name] = {"N": str(value)} if isinstance(value, int) else {"S": str(value)}
    dynamodb.put_item(TableName=os.environ["TABLE"], Item=item)
    print(f"{key}: {picture.width} x {picture.height} pixels, {len(content)} bytes; {thumbnail}")


def small(picture):
    picture = ImageOps.exif_transpose(picture)
    picture.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    in_srgb(picture).save(out, "JPEG", quality=85)
    return out.getvalue()
