//! File attributes as object metadata.
//!
//! Written in the forms that others use: `mtime` as rclone does (seconds since the epoch with a fraction), `mode` in
//! octal, `sha256` in hexadecimal.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{digest::Digest, local::Fingerprint, store::ObjectInfo};

/// Mode of files whose object says nothing.
pub(crate) const DEFAULT_MODE: u32 = 0o644;

/// Name of the metadata that holds the content's SHA-256.
pub(crate) const DIGEST: &str = "sha256";

/// The metadata to keep with an object.
pub(crate) fn metadata(fingerprint: &Fingerprint, digest: &Digest) -> Vec<(String, String)> {
    let seconds = fingerprint.mtime_nanoseconds.div_euclid(1_000_000_000);
    let fraction = fingerprint.mtime_nanoseconds.rem_euclid(1_000_000_000);
    vec![
        ("mtime".to_owned(), format!("{seconds}.{fraction:09}")),
        ("mode".to_owned(), format!("{:04o}", fingerprint.mode)),
        (DIGEST.to_owned(), digest.to_hex()),
    ]
}

/// Permission bits that the object's writer kept; never set-user-id and the like.
pub(crate) fn mode(info: &ObjectInfo) -> Option<u32> {
    let text = info.metadata("mode")?;
    // rclone writes the whole st_mode, file type included.
    u32::from_str_radix(text, 8)
        .ok()
        .map(|mode| mode & 0o777)
        .filter(|mode| mode & 0o400 != 0)
}

/// The modification time that the object's writer kept, else the time it was written.
pub(crate) fn modified(info: &ObjectInfo) -> Option<SystemTime> {
    info.metadata("mtime")
        .and_then(parse_seconds)
        .or(info.modified)
}

fn parse_seconds(text: &str) -> Option<SystemTime> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: u64 = seconds.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    UNIX_EPOCH.checked_add(Duration::new(seconds, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ETag;

    fn info(metadata: Vec<(String, String)>) -> ObjectInfo {
        ObjectInfo {
            etag: ETag::new("e"),
            size_bytes: 0,
            modified: None,
            metadata,
        }
    }

    #[test]
    fn attributes_come_back_as_they_were_sent() {
        let fingerprint = Fingerprint {
            size_bytes: 1,
            mtime_nanoseconds: 1_700_000_000_012_345_678,
            ctime_nanoseconds: 0,
            inode: 1,
            mode: 0o755,
        };
        let info = info(metadata(&fingerprint, &Digest::from_bytes([0; 32])));
        assert_eq!(mode(&info), Some(0o755));
        let nanoseconds = modified(&info)
            .unwrap()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_nanos();
        assert_eq!(nanoseconds, 1_700_000_000_012_345_678);
    }

    #[test]
    fn foreign_and_broken_attributes_are_read_with_care() {
        let with = |name: &str, value: &str| info(vec![(name.to_owned(), value.to_owned())]);
        assert_eq!(mode(&with("mode", "100755")), Some(0o755));
        assert_eq!(mode(&with("mode", "4755")), Some(0o755));
        assert_eq!(mode(&with("mode", "000")), None);
        assert_eq!(mode(&with("mode", "rwx")), None);
        assert_eq!(modified(&with("mtime", "yesterday")), None);
        assert!(modified(&with("mtime", "1700000000")).is_some());
    }
}
