"""Exercises an S3 endpoint with boto3 and with hand-made requests, as its users do.

usage: serve_boto3.py [ENDPOINT ACCESS_KEY SECRET_KEY]     (or S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY)

Works in buckets of its own and removes them. Prints "ok N checks" and exits 0, or fails at the first check that does not hold.
"""

import concurrent.futures
import datetime
import hashlib
import os
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request
import zlib

from botocore.exceptions import ClientError

# The checkout stays as it is.
sys.dont_write_bytecode = True
import serve_boto3_support as support
from serve_boto3_multipart import Multipart
from serve_boto3_support import MIB, b64, check, equal, md5, refused

ODD_KEYS = [
    "plain", "a", "a/b", "a-b", "a.b", "a+b", "a%2Fb", "a%b", "a b", " lead", "trail ", "a//b", "/rooted", "dir/",
    "back\\slash", "quote'\"", "<xml>&amp;", "semi;colon", "eq=amp&q?x#y", "emoji-😀", "zß水", "new\nline", "tab\there",
    "x/../y", "./dot", "...", "~tilde", "*star", "(paren)", "[brack]", "{brace}", "|pipe", "^caret", "@at", "!bang",
    "$dollar", "comma,", "colon:", "long-" + "n" * 250, "deep/" + "d/" * 400 + "leaf", "k" * 1024,
]


class Suite(Multipart):
    """Each method is a step; later ones use the bucket of the first."""

    def buckets(self):
        s3 = self.s3
        s3.create_bucket(Bucket=self.bucket)
        refused("BucketAlreadyOwnedByYou", 409, s3.create_bucket, Bucket=self.bucket)
        check(self.bucket in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]], "a new bucket is listed")
        s3.head_bucket(Bucket=self.bucket)
        check(s3.get_bucket_location(Bucket=self.bucket)["LocationConstraint"] in (None, "us-east-1"), "location")
        check("Status" not in s3.get_bucket_versioning(Bucket=self.bucket), "no versions are kept")
        refused("NoSuchBucket", 404, s3.head_bucket, Bucket="never-" + self.run_id)
        missing = {"Bucket": "never-" + self.run_id}
        refused("NoSuchBucket", 404, s3.list_objects_v2, **missing)
        refused("NoSuchBucket", 404, s3.get_object, Key="x", **missing)
        refused("NoSuchBucket", 404, s3.put_object, Key="x", Body=b"y" * 200_000, **missing)
        refused("NoSuchBucket", 404, s3.delete_object, Key="x", **missing)
        refused("NoSuchBucket", 404, s3.delete_bucket, **missing)
        other = f"other-{self.run_id}"
        s3.create_bucket(Bucket=other)
        s3.put_object(Bucket=other, Key="x", Body=b"")
        refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=other)
        s3.delete_object(Bucket=other, Key="x")
        s3.delete_bucket(Bucket=other)
        refused("NoSuchBucket", 404, s3.head_bucket, Bucket=other)

    def credentials(self):
        wrong_secret = self.client(self.access_key, "not-the-secret")
        refused("SignatureDoesNotMatch", 403, wrong_secret.list_objects_v2, Bucket=self.bucket)
        refused("SignatureDoesNotMatch", 403, wrong_secret.put_object, Bucket=self.bucket, Key="x", Body=b"z" * 3 * MIB)
        wrong_key = self.client("not-the-key", self.secret_key)
        refused("InvalidAccessKeyId", 403, wrong_key.list_buckets)
        for method, path in [("GET", "/"), ("GET", f"/{self.bucket}"), ("PUT", f"/{self.bucket}/anonymous")]:
            connection = self.connect()
            connection.request(method, path, body=b"x" if method == "PUT" else None)
            equal(connection.getresponse().status, 403, f"anonymous {method} {path}")
        self.absent("anonymous")

    def presigned(self):
        body = b"by way of a link"
        url = self.s3.generate_presigned_url("put_object", {"Bucket": self.bucket, "Key": "pre/signed +%.txt"})
        request = urllib.request.Request(url, data=body, method="PUT", headers={"Content-Type": ""})
        equal(urllib.request.urlopen(request).status, 200, "presigned PUT")
        parameters = {"Bucket": self.bucket, "Key": "pre/signed +%.txt", "ResponseContentType": "text/x-odd"}
        url = self.s3.generate_presigned_url("get_object", parameters)
        answer = urllib.request.urlopen(url)
        equal((answer.read(), answer.headers["Content-Type"]), (body, "text/x-odd"), "presigned GET")
        for broken in [url[:-1] + ("0" if url[-1] != "0" else "1"), url.replace("pre/signed", "pre/other")]:
            try:
                urllib.request.urlopen(broken)
                check(False, "a broken link must not work")
            except urllib.error.HTTPError as error:
                equal(error.code, 403, "broken link")

    def contents(self):
        for size in [0, 1, 1000, 65536, 65537, 1 * MIB + 17, 9 * MIB]:
            body = os.urandom(size)
            key = f"size/{size}"
            equal(self.put(key, body)["ETag"], md5(body), f"ETag of {size} bytes")
            answer = self.s3.get_object(Bucket=self.bucket, Key=key)
            equal(answer["ContentLength"], size, "length")
            check(answer["Body"].read() == body, f"{size} bytes come back")
            head = self.s3.head_object(Bucket=self.bucket, Key=key)
            equal((head["ContentLength"], head["ETag"]), (size, md5(body)), "HEAD")
            self.put(key, b"shorter")
            equal(self.get(key), b"shorter", "an overwritten object")
        refused("NoSuchKey", 404, self.s3.head_object, Bucket=self.bucket, Key="never")
        self.absent("never")
        age = datetime.datetime.now(datetime.timezone.utc) - head["LastModified"]
        check(abs(age.total_seconds()) < 60, f"LastModified is now: {age}")

    def headers(self):
        expires = datetime.datetime(2031, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
        given = {"ContentType": "text/markdown; charset=utf-8", "CacheControl": "no-cache", "ContentDisposition": 'attachment; filename="x"',
                 "ContentEncoding": "gzip", "ContentLanguage": "de", "Metadata": {"mtime": "1700000000.123456789", "odd-name": "a=b; c"}}
        self.put("headers", b"x", Expires=expires, **given)
        for answer in (self.s3.head_object(Bucket=self.bucket, Key="headers"), self.s3.get_object(Bucket=self.bucket, Key="headers")):
            for name, value in given.items():
                equal(answer[name], value, name)
            equal(answer["ResponseMetadata"]["HTTPHeaders"]["expires"], "Mon, 03 Feb 2031 04:05:06 GMT", "Expires")
        self.put("plain-headers", b"x")
        equal(self.s3.head_object(Bucket=self.bucket, Key="plain-headers").get("ContentEncoding"), None, "the transport's encoding is not kept")
        refused("MetadataTooLarge", 400, self.put, key="too-much", Metadata={"big": "x" * 2100})

    def odd_keys(self):
        prefix = "odd/"
        for key in ODD_KEYS:
            name = (prefix + key)[:1024]
            self.put(name, name.encode())
        names = [(prefix + key)[:1024] for key in ODD_KEYS]
        for name in names:
            check(self.get(name) == name.encode(), f"{name!r:.80} comes back")
        ordered = sorted(names, key=str.encode)
        equal(self.keys(Prefix=prefix), ordered, "byte order")
        equal(self.keys(Prefix=prefix, PaginationConfig={"PageSize": 1}), ordered, "page by page")
        equal(self.keys(Prefix=prefix, PaginationConfig={"PageSize": 7}), ordered, "seven by seven")
        first = [entry["Key"] for page in self.s3.get_paginator("list_objects").paginate(Bucket=self.bucket, Prefix=prefix, PaginationConfig={"PageSize": 5})
                 for entry in page["Contents"]]
        equal(first, ordered, "the old listing")
        for name in names[:20]:
            self.s3.copy_object(Bucket=self.bucket, Key="copied/" + name[-900:], CopySource={"Bucket": self.bucket, "Key": name})
            check(self.get("copied/" + name[-900:]) == name.encode(), f"{name!r} copied")
        refused("KeyTooLongError", 400, self.put, key="k" * 1025)
        answer = self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": name} for name in names]})
        equal(sorted(entry["Key"] for entry in answer["Deleted"]), sorted(names), "all deleted")
        equal(self.keys(Prefix=prefix), [], "none is left")

    def listings(self):
        keys = [f"l/d{a}/{b:02}" for a in range(3) for b in range(40)] + ["l/d", "l/d0", "l/d0-", "l/d1.x", "l/e"]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda key: self.put(key, key.encode()), keys))
        s3 = self.s3

        def page(**arguments):
            answer = s3.list_objects_v2(Bucket=self.bucket, Prefix="l/", **arguments)
            names = [entry["Key"] for entry in answer.get("Contents", [])]
            return names, [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])], answer

        names, prefixes, answer = page(Delimiter="/")
        equal(names, ["l/d", "l/d0", "l/d0-", "l/d1.x", "l/e"], "keys beside common prefixes")
        equal(prefixes, ["l/d0/", "l/d1/", "l/d2/"], "common prefixes")
        equal((answer["KeyCount"], answer["IsTruncated"], answer["Delimiter"]), (8, False, "/"), "what an answer says")
        expected = sorted(names + prefixes)
        for size in range(1, 9):
            found, token = [], {}
            while True:
                names, prefixes, answer = page(Delimiter="/", MaxKeys=size, **token)
                check(len(names) + len(prefixes) <= size, "a page is no longer than asked for")
                found += sorted(names + prefixes)
                if not answer["IsTruncated"]:
                    break
                token = {"ContinuationToken": answer["NextContinuationToken"]}
            equal(found, expected, f"pages of {size}")
        found, marker = [], ""
        while True:
            answer = s3.list_objects(Bucket=self.bucket, Prefix="l/", Delimiter="/", MaxKeys=2, Marker=marker)
            found += sorted([entry["Key"] for entry in answer.get("Contents", [])] + [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])])
            if not answer["IsTruncated"]:
                break
            marker = answer["NextMarker"]
        equal(found, expected, "the old listing, by markers")
        equal(page(StartAfter="l/d1/38")[0][:2], ["l/d1/39", "l/d2/00"], "start after")
        equal(page(StartAfter="l/d1.x")[0][0], "l/d1/00", "start after a key of another directory")
        equal(page(MaxKeys=0)[0], [], "no keys at all")
        equal(page(MaxKeys=5000)[2]["MaxKeys"], 1000, "at most 1000")
        names, prefixes, _ = page(Delimiter="/3")
        equal((len(prefixes), prefixes[0]), (3, "l/d0/3"), "a delimiter of two characters")
        entry = page(MaxKeys=1)[2]["Contents"][0]
        equal((entry["ETag"], entry["Size"], entry["StorageClass"]), (md5(b"l/d"), 3, "STANDARD"), "an entry")
        check("Owner" in page(MaxKeys=1, FetchOwner=True)[2]["Contents"][0], "owner on demand")
        refused("InvalidArgument", 400, s3.list_objects_v2, Bucket=self.bucket, ContinuationToken="?!")
        equal(s3.list_objects_v2(Bucket=self.bucket, Prefix="l/nothing").get("KeyCount"), 0, "an empty listing")

    def ranges(self):
        for size in (1000, 3 * MIB):
            body = os.urandom(size)
            key = f"ranges/{size}"
            self.put(key, body)
            for spec, start, end in [("0-0", 0, 1), ("10-19", 10, 20), (f"{size - 1}-", size - 1, size), ("500-", 500, size),
                                     ("-7", size - 7, size), (f"-{size * 2}", 0, size), (f"100-{size * 3}", 100, size)]:
                answer = self.s3.get_object(Bucket=self.bucket, Key=key, Range=f"bytes={spec}")
                check(answer["Body"].read() == body[start:end], f"range {spec}")
                equal(answer["ContentRange"], f"bytes {start}-{end - 1}/{size}", f"Content-Range of {spec}")
                equal(answer["ResponseMetadata"]["HTTPStatusCode"], 206, "status")
            head = self.s3.head_object(Bucket=self.bucket, Key=key, Range="bytes=1-2")
            equal(head["ContentLength"], 2, "HEAD of a range")
            for spec in (f"{size}-", f"{size + 5}-{size + 9}", "-0"):
                refused("InvalidRange", 416, self.s3.get_object, Bucket=self.bucket, Key=key, Range=f"bytes={spec}")
        self.put("ranges/empty")
        refused("InvalidRange", 416, self.s3.get_object, Bucket=self.bucket, Key="ranges/empty", Range="bytes=0-")
        refused("InvalidRange", 416, self.s3.get_object, Bucket=self.bucket, Key="ranges/empty", Range="bytes=-5")

    def conditions(self):
        s3, place = self.s3, {"Bucket": self.bucket, "Key": "condition"}
        refused("NoSuchKey", 404, s3.put_object, Body=b"0", IfMatch=md5(b"x"), **place)
        refused("NoSuchKey", 404, s3.delete_object, IfMatch=md5(b"x"), **place)
        first = s3.put_object(Body=b"one", IfNoneMatch="*", **place)["ETag"]
        refused("PreconditionFailed", 412, s3.put_object, Body=b"two", IfNoneMatch="*", **place)
        refused("PreconditionFailed", 412, s3.put_object, Body=b"2" * 9 * MIB, IfNoneMatch="*", **place)
        refused("PreconditionFailed", 412, s3.put_object, Body=b"two", IfMatch=md5(b"x"), **place)
        equal(self.get("condition"), b"one", "refused writes change nothing")
        second = s3.put_object(Body=b"two", IfMatch=first, **place)["ETag"]
        third = s3.put_object(Body=b"3" * 2 * MIB, IfMatch=second.strip('"'), **place)["ETag"]
        equal(s3.get_object(IfMatch=third, **place)["ETag"], third, "GET If-Match")
        refused("PreconditionFailed", 412, s3.get_object, IfMatch=first, **place)
        refused("PreconditionFailed", 412, s3.head_object, IfMatch=first, **place)
        for call in (s3.get_object, s3.head_object):
            answer = refused("304", 304, call, IfNoneMatch=third, **place)
            equal(answer["ResponseMetadata"]["HTTPHeaders"]["etag"], third, "ETag of a 304")
        equal(s3.get_object(IfNoneMatch=first, **place)["ETag"], third, "GET If-None-Match of another version")
        modified = s3.head_object(**place)["LastModified"]
        day = datetime.timedelta(days=1)
        refused("304", 304, s3.get_object, IfModifiedSince=modified, **place)
        s3.get_object(IfModifiedSince=modified - day, **place)
        s3.get_object(IfUnmodifiedSince=modified, **place)
        refused("PreconditionFailed", 412, s3.get_object, IfUnmodifiedSince=modified - day, **place)
        refused("PreconditionFailed", 412, s3.delete_object, IfMatch=first, **place)
        answer = s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": "condition", "ETag": first}, {"Key": "never"}]})
        equal([entry["Code"] for entry in answer["Errors"]], ["PreconditionFailed"], "conditional delete of many")
        equal([entry["Key"] for entry in answer["Deleted"]], ["never"], "the rest is deleted")
        s3.delete_object(IfMatch=third, **place)
        self.absent("condition")
        s3.delete_object(**place)
        for number in range(3):
            self.put(f"quiet/{number}")
        answer = s3.delete_objects(Bucket=self.bucket, Delete={"Quiet": True, "Objects": [{"Key": f"quiet/{n}"} for n in range(3)]})
        check("Deleted" not in answer, "quiet")

    def races(self):
        def outcome(call):
            try:
                call()
                return "won"
            except ClientError as error:
                return error.response["Error"]["Code"]

        with concurrent.futures.ThreadPoolExecutor(80) as pool:
            for size in (10, 200_000):
                tasks = [(f"race/{size}/{n % 10}", str(n).encode().ljust(size)) for n in range(80)]
                outcomes = list(pool.map(lambda task: outcome(lambda: self.put(*task, IfNoneMatch="*")), tasks))
                equal(outcomes.count("won"), 10, f"80 creations of 10 keys, {size} bytes")
                equal(outcomes.count("PreconditionFailed"), 70, "the others lose")
                for key, body in [task for task, result in zip(tasks, outcomes) if result == "won"]:
                    check(self.get(key) == body, "the winner's content stays")
                etags = {f"race/{size}/{n}": self.s3.head_object(Bucket=self.bucket, Key=f"race/{size}/{n}")["ETag"] for n in range(10)}
                tasks = [(key, f"update {n}".encode().ljust(size)) for n in range(8) for key in etags]
                outcomes = list(pool.map(lambda task: outcome(lambda: self.put(*task, IfMatch=etags[task[0]])), tasks))
                equal(outcomes.count("won"), 10, "80 updates of 10 keys")
                deletes = list(pool.map(lambda n: outcome(lambda: self.s3.delete_object(
                    Bucket=self.bucket, Key=f"race/{size}/{n % 10}", IfMatch="*")), range(80)))
                equal((deletes.count("won"), deletes.count("NoSuchKey")), (10, 70), "80 deletes of 10 keys")

    def checksums(self):
        body = b"checked content"
        crc32 = b64(zlib.crc32(body).to_bytes(4, "big"))
        given = {"ChecksumCRC32": crc32, "ChecksumSHA256": b64(hashlib.sha256(body).digest()), "ChecksumSHA1": b64(hashlib.sha1(body).digest())}
        for name, value in given.items():
            key = f"checksum/{name}"
            equal(self.put(key, body, **{name: value})[name], value, f"{name} in the answer")
            answer = self.s3.get_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
            equal((answer[name], answer["ChecksumType"]), (value, "FULL_OBJECT"), f"{name} is kept")
            answer["Body"].read()
            equal(self.s3.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")[name], value, f"{name} by HEAD")
            check(name not in self.s3.head_object(Bucket=self.bucket, Key=key), f"{name} only on demand")
            wrong = value[:1].swapcase() + value[1:] if value[0].isalpha() else "A" + value[1:]
            refused("BadDigest", 400, self.put, key="checksum/wrong", body=body, **{name: wrong})
        attributes = self.s3.get_object_attributes(Bucket=self.bucket, Key="checksum/ChecksumSHA256", ObjectAttributes=["ETag", "Checksum", "ObjectSize"])
        equal((attributes["ObjectSize"], attributes["Checksum"]["ChecksumSHA256"]), (len(body), given["ChecksumSHA256"]), "attributes")
        self.put("checksum/trailer", b"t" * 300_000, ChecksumAlgorithm="SHA256")
        equal(self.s3.head_object(Bucket=self.bucket, Key="checksum/trailer", ChecksumMode="ENABLED")["ChecksumSHA256"],
              b64(hashlib.sha256(b"t" * 300_000).digest()), "a checksum that came as a trailer")
        self.put("checksum/md5", body, ContentMD5=b64(hashlib.md5(body).digest()))
        refused("BadDigest", 400, self.put, key="checksum/wrong", body=body, ContentMD5=b64(hashlib.md5(b"other").digest()))
        refused("InvalidDigest", 400, self.put, key="checksum/wrong", body=body, ContentMD5="short")
        # What boto3 would compute itself.
        path = f"/{self.bucket}/checksum/wrong"
        for size in (100, 300_000):
            data = b"d" * size
            status, text, _ = self.raw("PUT", path, data, sha256=hashlib.sha256(b"other").hexdigest())
            equal(status, 400, f"x-amz-content-sha256 of other content: {text}")
            check("XAmzContentSHA256Mismatch" in text, text)
            for name, value in [("crc32", zlib.crc32(b"other").to_bytes(4, "big")), ("crc32c", bytes(4)), ("crc64nvme", bytes(8))]:
                status, text, _ = self.raw("PUT", path, data, {f"x-amz-checksum-{name}": b64(value)}, sha256="UNSIGNED-PAYLOAD")
                check(status == 400 and "BadDigest" in text, f"{name}: {status} {text}")
            status, text, _ = self.raw("PUT", path, data, {"x-amz-checksum-crc32": "nonsense"}, sha256="UNSIGNED-PAYLOAD")
            check(status == 400 and "InvalidRequest" in text, f"{status} {text}")
            for trailer, expected in [(b64(zlib.crc32(data).to_bytes(4, "big")), 200), (b64(zlib.crc32(b"other").to_bytes(4, "big")), 400)]:
                chunked = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (size, data, trailer.encode())
                headers = {"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-decoded-content-length": str(size), "Content-Encoding": "aws-chunked"}
                status, text, _ = self.raw("PUT", path, chunked, headers, sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER")
                equal(status, expected, f"trailer: {text}")
                if status == 200:
                    self.s3.delete_object(Bucket=self.bucket, Key="checksum/wrong")
        self.absent("checksum/wrong")
        # A list of deletes is checked before it is parsed.
        self.put("checksum/kept")
        body = b"<Delete><Object><Key>checksum/kept</Key></Object></Delete>"
        for name, value in [("Content-MD5", hashlib.md5(b"other").digest()), ("x-amz-checksum-crc32", bytes(4))]:
            status, text, _ = self.raw("POST", f"/{self.bucket}?delete", body, {name: b64(value)})
            check(status == 400 and "BadDigest" in text, f"garbled deletes: {status} {text}")
        self.get("checksum/kept")
        status, text, _ = self.raw("POST", f"/{self.bucket}?delete", body, {"Content-MD5": b64(hashlib.md5(body).digest())})
        equal(status, 200, text)
        self.absent("checksum/kept")

    def broken_bodies(self):
        for size in (1000, 3 * MIB):
            url = urllib.parse.urlsplit(self.endpoint)
            headers = self.signed_headers("PUT", f"/{self.bucket}/broken", {}, "UNSIGNED-PAYLOAD")
            with socket.create_connection((url.hostname, url.port)) as client:
                lines = [f"PUT /{self.bucket}/broken HTTP/1.1", f"Host: {url.netloc}", f"Content-Length: {size * 2}"]
                lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() not in ("host", "content-length")]
                client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + b"x" * size)
            self.absent("broken")
        # A refused request is read to its end, so that the connection can be used again.
        connection = self.connect()
        self.put("keep-alive", b"x")
        for _ in range(3):
            status, text, _ = self.raw("PUT", f"/{self.bucket}/keep-alive", b"y" * 2 * MIB, {"If-None-Match": "*"}, connection=connection)
            equal(status, 412, text)
        status, text, _ = self.raw("GET", f"/{self.bucket}/keep-alive", connection=connection)
        equal((status, text), (200, "x"), "the connection lives on")

    def copies(self):
        s3, source = self.s3, {"Bucket": self.bucket, "Key": "copy/source"}
        for body in (b"small", os.urandom(2 * MIB)):
            etag = self.put("copy/source", body, ContentType="text/a", Metadata={"k": "v"})["ETag"]
            equal(s3.copy_object(Bucket=self.bucket, Key="copy/target", CopySource=source)["CopyObjectResult"]["ETag"], etag, "ETag of a copy")
            head = s3.head_object(Bucket=self.bucket, Key="copy/target")
            equal((head["ContentType"], head["Metadata"]), ("text/a", {"k": "v"}), "headers of a copy")
            s3.copy_object(Bucket=self.bucket, Key="copy/target", CopySource=source, MetadataDirective="REPLACE", ContentType="text/b", Metadata={"n": "m"})
            head = s3.head_object(Bucket=self.bucket, Key="copy/target")
            equal((head["ContentType"], head["Metadata"]), ("text/b", {"n": "m"}), "headers replaced")
            s3.delete_object(**source)
            check(self.get("copy/target") == body, "a copy outlives its source")
            self.put("copy/source", body)
        refused("PreconditionFailed", 412, s3.copy_object, Bucket=self.bucket, Key="copy/no", CopySource=source, CopySourceIfMatch=md5(b"x"))
        refused("PreconditionFailed", 412, s3.copy_object, Bucket=self.bucket, Key="copy/no", CopySource=source, CopySourceIfNoneMatch=etag)
        s3.copy_object(Bucket=self.bucket, Key="copy/yes", CopySource=source, CopySourceIfMatch=etag)
        refused("NoSuchKey", 404, s3.copy_object, Bucket=self.bucket, Key="copy/no", CopySource={"Bucket": self.bucket, "Key": "never"})
        refused("InvalidRequest", 400, s3.copy_object, CopySource=source, **source)
        s3.copy_object(CopySource=source, MetadataDirective="REPLACE", Metadata={"touched": "1"}, **source)
        equal(s3.head_object(**source)["Metadata"], {"touched": "1"}, "a copy onto itself")
        check(self.get("copy/source") == body, "content stays")
        headers = {"x-amz-copy-source": f"/{self.bucket}/copy/source", "If-None-Match": "*"}
        status, text, _ = self.raw("PUT", f"/{self.bucket}/copy/yes", headers=headers)
        equal(status, 412, f"a condition on the target: {text}")
        self.absent("copy/no")

    def overwritten_while_read(self):
        """A download that is under way is not disturbed by a change of the object."""
        body = os.urandom(16 * MIB)
        self.put("moving", body)
        stream = self.s3.get_object(Bucket=self.bucket, Key="moving")["Body"]
        begin = stream.read(MIB)
        self.put("moving", b"new")
        self.s3.delete_object(Bucket=self.bucket, Key="moving")
        check(begin + stream.read() == body, "the old version is read to its end")

    def clean_up(self):
        for upload in self.s3.list_multipart_uploads(Bucket=self.bucket).get("Uploads", []):
            self.s3.abort_multipart_upload(Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        while keys := self.keys(PaginationConfig={"MaxItems": 1000}):
            self.s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in keys]})
        self.s3.delete_bucket(Bucket=self.bucket)


def main():
    arguments = sys.argv[1:] or [os.environ[name] for name in ("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY")]
    suite = Suite(*arguments)
    for step in ("buckets", "credentials", "presigned", "contents", "headers", "odd_keys", "listings", "ranges", "conditions", "races",
                 "checksums", "broken_bodies", "copies", "multipart", "managed_transfers", "overwritten_while_read", "clean_up"):
        try:
            getattr(suite, step)()
        except Exception:
            print(f"failed in: {step}", file=sys.stderr)
            raise
    print(f"ok {support.checks} checks")


if __name__ == "__main__":
    main()
