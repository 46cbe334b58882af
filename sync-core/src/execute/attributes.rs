//! File attributes as object metadata.
//!
//! Written so that rclone (`mtime`, `mode`) and mc (`mc-attrs`) restore them; `sha256` is ours. Read in the first of
//! these conventions that says something sensible:
//!
//! 1. `mtime` in seconds with a fraction, `mode` in octal (rclone, ourselves) or decimal (s3fs)
//! 2. `mc-attrs` and `s3cmd-attrs`: `mode:33188/mtime:1580702706#123456789/…`, `mode` in decimal
//! 3. `file-mtime` in milliseconds or `…ns`, `file-permissions` in octal (Amazon's services)
//!
//! Owners, set-user-id and the like are neither written nor restored. A value that makes no sense is as good as none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    digest::Digest,
    local::{Fingerprint, LocalKind},
    path::ObjectKey,
    store::ObjectInfo,
};

/// Mode of files whose object says nothing.
pub(crate) const DEFAULT_MODE: u32 = 0o644;

/// Name of the metadata that holds the content's SHA-256.
pub(crate) const DIGEST: &str = "sha256";
/// What rclone appends to the name of a link that it stores as a file: its body is no file of ours, but no link either.
const RCLONE_LINK_SUFFIX: &str = ".rclonelink";
/// Seconds that file systems and our nanoseconds can hold: 1901 to 2262.
const SECONDS: std::ops::RangeInclusive<i64> = -0x8000_0000..=9_223_372_035;
const TYPE_BITS: u32 = 0o170_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_LINK: u32 = 0o120_000;

/// The metadata to keep with an object.
pub(crate) fn metadata(fingerprint: &Fingerprint, digest: &Digest) -> Vec<(String, String)> {
    let kind = match fingerprint.kind() {
        LocalKind::Symlink => TYPE_LINK,
        LocalKind::File | LocalKind::Special | LocalKind::Directory => TYPE_FILE,
    };
    let mode = kind | fingerprint.permissions();
    let mut pairs = vec![
        ("mode".to_owned(), format!("{mode:o}")),
        (DIGEST.to_owned(), digest.to_hex()),
    ];
    let seconds = fingerprint.mtime_nanoseconds.div_euclid(1_000_000_000);
    if !SECONDS.contains(&seconds) {
        return pairs;
    }
    let fraction = fingerprint.mtime_nanoseconds.rem_euclid(1_000_000_000);
    let sign = if fingerprint.mtime_nanoseconds < 0 {
        "-"
    } else {
        ""
    };
    let magnitude = fingerprint.mtime_nanoseconds.unsigned_abs();
    let (whole, rest) = (magnitude / 1_000_000_000, magnitude % 1_000_000_000);
    pairs.push(("mtime".to_owned(), format!("{sign}{whole}.{rest:09}")));
    // Without a time of access mc takes no time at all.
    if kind == TYPE_FILE && seconds >= 0 {
        let time = format!("{seconds}#{fraction:09}");
        let attributes = format!("atime:{time}/mode:{mode}/mtime:{time}");
        pairs.push(("mc-attrs".to_owned(), attributes));
    }
    pairs
}

/// What an object is taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    File,
    /// A symbolic link; the content is its target.
    Link,
}

/// Whether the object is a file or a link, by what its writer kept.
pub(crate) fn kind(key: &ObjectKey, info: &ObjectInfo) -> ObjectKind {
    let link = stated_mode(info).is_some_and(|mode| mode & TYPE_BITS == TYPE_LINK);
    if link && !key.as_str().ends_with(RCLONE_LINK_SUFFIX) {
        ObjectKind::Link
    } else {
        ObjectKind::File
    }
}

/// Permission bits that the object's writer kept; never set-user-id and the like, and never bits that lock the owner out.
pub(crate) fn mode(info: &ObjectInfo) -> Option<u32> {
    stated_mode(info)
        .map(|mode| mode & 0o777)
        .filter(|mode| mode & 0o400 != 0)
}

/// The `st_mode` in the first convention that gives one of a file or link.
fn stated_mode(info: &ObjectInfo) -> Option<u32> {
    let of_file_or_link = |mode: &u32| {
        let kind = mode & TYPE_BITS;
        *mode <= TYPE_BITS | 0o7777 && (kind == 0 || kind == TYPE_FILE || kind == TYPE_LINK)
    };
    let octal = |text: &str| u32::from_str_radix(text, 8).ok().filter(of_file_or_link);
    let decimal = |text: &str| {
        let mode = text.parse::<u32>().ok().filter(of_file_or_link);
        mode.filter(|mode| mode & TYPE_BITS != 0)
    };
    info.metadata("mode")
        .and_then(|text| octal(text).or_else(|| decimal(text)))
        .or_else(|| listed(info, "mode").and_then(decimal))
        .or_else(|| info.metadata("file-permissions").and_then(octal))
}

/// The modification time that the object's writer kept, else the time it was written.
pub(crate) fn modified(info: &ObjectInfo) -> Option<SystemTime> {
    let with_fraction = |text: &str| parse_seconds(text, '.');
    info.metadata("mtime")
        .and_then(with_fraction)
        .or_else(|| listed(info, "mtime").and_then(|text| parse_seconds(text, '#')))
        .or_else(|| info.metadata("file-mtime").and_then(parse_amazon))
        .or(info.modified)
}

/// A value of the lists of attributes that mc and s3cmd keep.
fn listed<'a>(info: &'a ObjectInfo, name: &str) -> Option<&'a str> {
    ["mc-attrs", "s3cmd-attrs"].into_iter().find_map(|list| {
        info.metadata(list)?.split('/').find_map(|attribute| {
            let (found, value) = attribute.split_once(':')?;
            (found.trim() == name).then_some(value.trim())
        })
    })
}

fn parse_seconds(text: &str, point: char) -> Option<SystemTime> {
    let (whole, fraction) = text.split_once(point).unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok().filter(|it| SECONDS.contains(it))?;
    let digits = if point == '#' {
        format!("{fraction:0>9}")
    } else {
        fraction
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect()
    };
    let nanoseconds = match digits.len() {
        9 if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse::<u32>().ok()?,
        _ => return None,
    };
    let (whole_seconds, rest) = (
        Duration::from_secs(seconds.unsigned_abs()),
        Duration::new(0, nanoseconds),
    );
    match (whole.starts_with('-'), point) {
        (false, _) => UNIX_EPOCH.checked_add(whole_seconds + rest),
        // mc counts the fraction forward from the second, whatever its sign.
        (true, '#') => UNIX_EPOCH.checked_sub(whole_seconds)?.checked_add(rest),
        (true, _) => UNIX_EPOCH.checked_sub(whole_seconds + rest),
    }
}

fn parse_amazon(text: &str) -> Option<SystemTime> {
    let time = match text.strip_suffix("ns") {
        Some(nanoseconds) => Duration::from_nanos(nanoseconds.parse().ok()?),
        None => Duration::from_millis(text.trim_end_matches("ms").parse().ok()?),
    };
    let seconds = i64::try_from(time.as_secs()).ok()?;
    SECONDS.contains(&seconds).then_some(())?;
    UNIX_EPOCH.checked_add(time)
}

#[cfg(test)]
mod tests;
