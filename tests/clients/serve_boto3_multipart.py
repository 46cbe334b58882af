"""The steps of serve_boto3.py that upload in parts."""

import hashlib
import os
import zlib

from boto3.s3.transfer import TransferConfig
from serve_boto3_support import MIB, Endpoint, b64, check, equal, md5, refused


class Multipart(Endpoint):
    """Multipart uploads by hand and by boto3's transfers."""

    def multipart(self):
        s3, place = self.s3, {"Bucket": self.bucket, "Key": "multi/part"}
        parts = [os.urandom(5 * MIB), os.urandom(5 * MIB + 3), b"tail"]
        upload = s3.create_multipart_upload(ContentType="text/m", Metadata={"k": "v"}, **place)["UploadId"]
        place["UploadId"] = upload
        etags = [s3.upload_part(PartNumber=n, Body=body, **place)["ETag"] for n, body in zip((2, 4, 7), parts)]
        equal(etags, [md5(body) for body in parts], "ETags of parts")
        named = [{"PartNumber": n, "ETag": etag} for n, etag in zip((2, 4, 7), etags)]
        listed = s3.list_parts(**place)
        equal([(part["PartNumber"], part["Size"]) for part in listed["Parts"]], [(2, 5 * MIB), (4, 5 * MIB + 3), (7, 4)], "parts listed")
        page = s3.list_parts(MaxParts=2, **place)
        equal((page["IsTruncated"], page["NextPartNumberMarker"]), (True, 4), "parts by pages")
        equal([part["PartNumber"] for part in s3.list_parts(PartNumberMarker=4, **place)["Parts"]], [7], "the next page")
        uploads = s3.list_multipart_uploads(Bucket=self.bucket, Prefix="multi/")["Uploads"]
        equal([(entry["Key"], entry["UploadId"]) for entry in uploads], [("multi/part", upload)], "uploads listed")
        self.absent("multi/part")

        def complete(parts, **arguments):
            return s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **{**place, **arguments})

        refused("InvalidPartOrder", 400, complete, parts=named[::-1])
        refused("InvalidPart", 400, complete, parts=[{"PartNumber": 3, "ETag": etags[0]}])
        refused("InvalidPart", 400, complete, parts=[{"PartNumber": 2, "ETag": etags[1]}])
        refused("EntityTooSmall", 400, complete, parts=[named[0], named[1], named[2], {"PartNumber": 8, "ETag": s3.upload_part(PartNumber=8, Body=b"z", **place)["ETag"]}])
        refused("NoSuchUpload", 404, complete, parts=named, UploadId="0" * 32)
        refused("NoSuchUpload", 404, complete, parts=named, Key="multi/other")
        refused("NoSuchKey", 404, complete, parts=named, IfMatch=md5(b"x"))
        self.put("multi/part", b"in the way")
        refused("PreconditionFailed", 412, complete, parts=named, IfNoneMatch="*")
        equal(self.get("multi/part"), b"in the way", "a refused completion changes nothing")
        answer = complete(parts=named, IfMatch=md5(b"in the way"))
        etag = '"' + hashlib.md5(b"".join(hashlib.md5(body).digest() for body in parts)).hexdigest() + '-3"'
        equal(answer["ETag"], etag, "ETag of a multipart object")
        whole = b"".join(parts)
        head = s3.head_object(Bucket=self.bucket, Key="multi/part")
        equal((head["ETag"], head["ContentLength"], head["ContentType"], head["Metadata"]), (etag, len(whole), "text/m", {"k": "v"}), "the object")
        check(self.get("multi/part") == whole, "content of all parts")
        edge = 5 * MIB
        check(self.get("multi/part", Range=f"bytes={edge - 10}-{edge + 9}") == whole[edge - 10 : edge + 10], "a range across parts")
        check(self.get("multi/part", Range="bytes=-6") == whole[-6:], "the end")
        answer = s3.get_object(Bucket=self.bucket, Key="multi/part", PartNumber=2)
        check(answer["Body"].read() == parts[1] and answer["PartsCount"] == 3, "one part")
        refused("NoSuchUpload", 404, s3.list_parts, **place)
        check("Uploads" not in s3.list_multipart_uploads(Bucket=self.bucket, Prefix="multi/"), "nothing is under way")
        s3.copy_object(Bucket=self.bucket, Key="multi/copy", CopySource={"Bucket": self.bucket, "Key": "multi/part"})
        s3.delete_object(Bucket=self.bucket, Key="multi/part")
        check(self.get("multi/copy") == whole, "a copy of a multipart object")
        self.part_copies(whole)
        self.aborts()

    def part_copies(self, whole):
        place = {"Bucket": self.bucket, "Key": "multi/from-parts"}
        place["UploadId"] = self.s3.create_multipart_upload(**place)["UploadId"]
        source = {"CopySource": {"Bucket": self.bucket, "Key": "multi/copy"}}
        edge = 6 * MIB
        one = self.s3.upload_part_copy(PartNumber=1, CopySourceRange=f"bytes=0-{edge - 1}", **source, **place)["CopyPartResult"]["ETag"]
        equal(one, md5(whole[:edge]), "ETag of a copied stretch")
        two = self.s3.upload_part_copy(PartNumber=2, CopySourceRange=f"bytes={edge}-{len(whole) - 1}", **source, **place)["CopyPartResult"]["ETag"]
        refused("PreconditionFailed", 412, self.s3.upload_part_copy, PartNumber=3, CopySourceIfMatch=md5(b"x"), **source, **place)
        self.s3.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": one}, {"PartNumber": 2, "ETag": two}]}, **place)
        check(self.get("multi/from-parts") == whole, "an object made of copied stretches")

    def aborts(self):
        place = {"Bucket": self.bucket, "Key": "multi/aborted"}
        upload = {"UploadId": self.s3.create_multipart_upload(**place)["UploadId"], **place}
        self.s3.upload_part(PartNumber=1, Body=b"x" * MIB, **upload)
        refused("InvalidArgument", 400, self.s3.upload_part, PartNumber=10_001, Body=b"x", **upload)
        refused("BadDigest", 400, self.s3.upload_part, PartNumber=2, Body=b"x", ContentMD5=b64(hashlib.md5(b"y").digest()), **upload)
        self.s3.abort_multipart_upload(**upload)
        refused("NoSuchUpload", 404, self.s3.abort_multipart_upload, **upload)
        refused("NoSuchUpload", 404, self.s3.upload_part, PartNumber=1, Body=b"x", **upload)

    def managed_transfers(self):
        path = f"/tmp/serve-boto3-{self.run_id}"
        body = os.urandom(21 * MIB)
        with open(path, "wb") as file:
            file.write(body)
        try:
            config = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=6 * MIB, max_concurrency=4)
            for number, extra in enumerate([{}, {"ChecksumAlgorithm": "SHA256"}, {"ChecksumAlgorithm": "CRC32"}]):
                key = f"managed/{number}"
                self.s3.upload_file(path, self.bucket, key, Config=config, ExtraArgs=extra)
                self.s3.download_file(self.bucket, key, path + ".back", Config=config)
                with open(path + ".back", "rb") as file:
                    check(file.read() == body, f"upload_file and download_file with {extra}")
                head = self.s3.head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
                if extra:
                    check(head["Checksum" + extra["ChecksumAlgorithm"]].endswith("-4"), f"a composite checksum: {head}")
                    equal(head["ChecksumType"], "COMPOSITE", "its type")
        finally:
            for name in (path, path + ".back"):
                if os.path.exists(name):
                    os.remove(name)
        place = {"Bucket": self.bucket, "Key": "managed/full"}
        upload = {"UploadId": self.s3.create_multipart_upload(ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT", **place)["UploadId"], **place}
        halves = body[: 6 * MIB], body[6 * MIB :]
        named = []
        for number, half in enumerate(halves, 1):
            part = self.s3.upload_part(PartNumber=number, Body=half, ChecksumAlgorithm="CRC32", **upload)
            named.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
        whole = b64(zlib.crc32(body).to_bytes(4, "big"))
        refused("BadDigest", 400, self.s3.complete_multipart_upload, MultipartUpload={"Parts": named}, ChecksumType="FULL_OBJECT",
                ChecksumCRC32=b64(zlib.crc32(b"x").to_bytes(4, "big")), **upload)
        answer = self.s3.complete_multipart_upload(MultipartUpload={"Parts": named}, ChecksumCRC32=whole, ChecksumType="FULL_OBJECT", **upload)
        equal((answer["ChecksumCRC32"], answer["ChecksumType"]), (whole, "FULL_OBJECT"), "a checksum of the whole")
        answer = self.s3.get_object(ChecksumMode="ENABLED", **place)
        check(answer["Body"].read() == body, "the client checks it too")
