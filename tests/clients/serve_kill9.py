"""Kills an S3 server again and again while clients write, and checks that nothing it acknowledged is lost or torn.

usage: serve_kill9.py ACCESS_KEY SECRET_KEY ROUNDS COMMAND...

COMMAND starts the server on an empty data directory the first time and on the same one afterwards; its first line of
output is "listening on http://ADDRESS", and it creates the bucket "bucket-one". Prints "ok …" and exits 0.
"""

import hashlib
import random
import subprocess
import sys
import threading
import time

import boto3
from botocore.client import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "bucket-one"
WRITERS = 8
ABSENT = None
# Sizes on both sides of the limit between catalogue and file.
SIZES = [0, 1, 500, 4000, 65_536, 65_537, 300_000, 2_000_000]


def body_of(seed, size):
    """Content that can be made again from its seed."""
    return random.Random(seed).randbytes(size)


def etag_of(body):
    return '"' + hashlib.md5(body).hexdigest() + '"'


class Writer(threading.Thread):
    """Writes keys of its own, one request at a time, until the server is gone."""

    def __init__(self, client, number, state):
        super().__init__(daemon=True)
        self.client, self.number, self.state = client, number, state
        self.acknowledged = 0

    def run(self):
        try:
            while True:
                self.step()
        except (BotoCoreError, ClientError, OSError):
            pass

    def step(self):
        key = f"writer-{self.number}/{random.randrange(40)}"
        action = random.random()
        known = self.state[key] if key in self.state else [ABSENT]
        if action < 0.15:
            self.state[key] = known + [ABSENT]
            self.client.delete_object(Bucket=BUCKET, Key=key)
            self.state[key] = [ABSENT]
        elif action < 0.25:
            parts = [body_of(f"{key} {time.time()}", 5 * 1024 * 1024), b"tail"]
            place = {"Bucket": BUCKET, "Key": key}
            upload = {"UploadId": self.client.create_multipart_upload(**place)["UploadId"], **place}
            named = [{"PartNumber": n, "ETag": self.client.upload_part(PartNumber=n, Body=part, **upload)["ETag"]} for n, part in enumerate(parts, 1)]
            etag = '"' + hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest() + '-2"'
            new = (etag, hashlib.sha256(b"".join(parts)).hexdigest())
            self.state[key] = known + [new]
            self.client.complete_multipart_upload(MultipartUpload={"Parts": named}, **upload)
            self.state[key] = [new]
        else:
            body = body_of(f"{key} {time.time()}", random.choice(SIZES))
            new = (etag_of(body), hashlib.sha256(body).hexdigest())
            self.state[key] = known + [new]
            self.client.put_object(Bucket=BUCKET, Key=key, Body=body)
            self.state[key] = [new]
        self.acknowledged += 1


def start(command):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline().strip()
    if not line.startswith("listening on http://"):
        raise SystemExit(f"the server said {line!r}")
    return process, line.removeprefix("listening on ")


def verify(client, state):
    listed = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        listed.update({entry["Key"]: entry["ETag"] for entry in page.get("Contents", [])})
    for key, possible in state.items():
        if key not in listed:
            assert ABSENT in possible, f"{key} is lost; it was {possible}"
            state[key] = [ABSENT]
            continue
        answer = client.get_object(Bucket=BUCKET, Key=key)
        found = (answer["ETag"], hashlib.sha256(answer["Body"].read()).hexdigest())
        assert found in possible, f"{key} holds {found}, which is none of {possible}"
        assert listed[key] == found[0], f"{key} is listed as {listed[key]}"
        state[key] = [found]
    unknown = set(listed) - set(state)
    assert not unknown, f"never written: {unknown}"


def main():
    access_key, secret_key, rounds, *command = sys.argv[1:]
    state, acknowledged = {}, 0
    for number in range(int(rounds) + 1):
        process, endpoint = start(command)
        try:
            config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0}, max_pool_connections=20, read_timeout=20)
            client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id=access_key, aws_secret_access_key=secret_key,
                                  region_name="us-east-1", config=config)
            verify(client, state)
            if number == int(rounds):
                break
            writers = [Writer(client, writer, state) for writer in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(random.uniform(0.1, 1.5))
        finally:
            process.kill()
            process.wait()
        for writer in writers:
            writer.join()
            acknowledged += writer.acknowledged
    print(f"ok {acknowledged} acknowledged changes, {len(state)} keys, {rounds} rounds")


if __name__ == "__main__":
    main()
