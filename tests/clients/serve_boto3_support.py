"""What serve_boto3.py is written with: checks that are counted, clients, and requests that boto3 would not send."""

import base64
import hashlib
import http.client
import urllib.parse
import uuid

import boto3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.client import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

MIB = 1024 * 1024

checks = 0


def check(condition, message):
    global checks
    checks += 1
    if not condition:
        raise AssertionError(message)


def equal(found, expected, message):
    check(found == expected, f"{message}: found {found!r:.300}, expected {expected!r:.300}")


def refused(code, status, call, **arguments):
    """The call must fail with this code and status."""
    try:
        call(**arguments)
    except ClientError as error:
        found = (error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"])
        # Answers to HEAD have no body, so their code is the status.
        check(found[1] == status and found[0] in (code, str(status)), f"{call.__name__} {arguments!r:.200}: {found}, not {(code, status)}")
        return error.response
    check(False, f"{call.__name__} {arguments!r:.200}: succeeded, expected {code}")


def md5(data):
    return '"' + hashlib.md5(data).hexdigest() + '"'


def b64(raw):
    return base64.b64encode(raw).decode()


class Endpoint:
    """The endpoint under test, and short names for what is done with it again and again."""

    def __init__(self, endpoint, access_key, secret_key):
        self.endpoint, self.access_key, self.secret_key = endpoint, access_key, secret_key
        self.s3 = self.client(access_key, secret_key)
        self.run_id = uuid.uuid4().hex[:8]
        self.bucket = f"suite-{self.run_id}"

    def client(self, access_key, secret_key, **config):
        settings = {"s3": {"addressing_style": "path"}, "retries": {"max_attempts": 1}, "max_pool_connections": 100, **config}
        return boto3.client("s3", endpoint_url=self.endpoint, aws_access_key_id=access_key, aws_secret_access_key=secret_key,
                            region_name="us-east-1", config=Config(signature_version="s3v4", **settings))

    def get(self, key, **arguments):
        return self.s3.get_object(Bucket=self.bucket, Key=key, **arguments)["Body"].read()

    def put(self, key, body=b"", **arguments):
        return self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **arguments)

    def keys(self, **arguments):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **arguments)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def absent(self, key):
        refused("NoSuchKey", 404, self.s3.get_object, Bucket=self.bucket, Key=key)

    def raw(self, method, path, body=b"", headers=None, sha256=None, connection=None):
        """One signed request that boto3 would not send."""
        payload = sha256 or hashlib.sha256(body).hexdigest()
        signed = self.signed_headers(method, path, dict(headers or {}), payload, body)
        connection = connection or self.connect()
        connection.request(method, path, body=body, headers=signed)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace"), answer.headers

    def signed_headers(self, method, path, headers, payload, body=None):
        request = AWSRequest(method=method, url=self.endpoint + path, data=body, headers=headers)
        signer = S3SigV4Auth(Credentials(self.access_key, self.secret_key), "s3", "us-east-1")
        signer.payload = lambda request: payload
        signer.add_auth(request)
        return dict(request.prepare().headers)

    def connect(self):
        url = urllib.parse.urlsplit(self.endpoint)
        return http.client.HTTPConnection(url.hostname, url.port, timeout=30)
