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

fn with(pairs: &[(&str, &str)]) -> ObjectInfo {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    info(pairs.iter().map(owned).collect())
}

fn sent(mtime_nanoseconds: i64, mode: u32) -> ObjectInfo {
    let fingerprint = Fingerprint {
        mtime_nanoseconds,
        mode,
        ..Fingerprint::of_nothing()
    };
    info(metadata(&fingerprint, &Digest::from_bytes([0; 32])))
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

/// Nanoseconds since the epoch.
fn nanoseconds(info: &ObjectInfo) -> Option<i128> {
    let time = modified(info)?;
    let signed = |time: Duration| i128::try_from(time.as_nanos()).unwrap();
    Some(match time.duration_since(UNIX_EPOCH) {
        Ok(after) => signed(after),
        Err(before) => -signed(before.duration()),
    })
}

#[test]
fn attributes_come_back_as_they_were_sent() {
    for time in [1_700_000_000_012_345_678, 5, 0, -1, -1_500_000_000] {
        let info = sent(time, 0o100_755);
        assert_eq!(mode(&info), Some(0o755));
        assert_eq!(nanoseconds(&info), Some(time.into()));
        assert_eq!(kind(&key("a"), &info), ObjectKind::File);
    }
    assert_eq!(nanoseconds(&sent(i64::MIN, 0o644)), None);
    assert_eq!(kind(&key("a"), &sent(0, 0o120_777)), ObjectKind::Link);
    assert_eq!(
        kind(&key("a.rclonelink"), &sent(0, 0o120_777)),
        ObjectKind::File
    );
}

/// The very texts that rclone 1.75 and mc write for a file of mode 0754, and that make them restore it.
#[test]
fn they_are_written_as_rclone_and_mc_read_them() {
    let info = sent(1_580_702_706_123_456_789, 0o104_754);
    assert_eq!(info.metadata("mtime"), Some("1580702706.123456789"));
    assert_eq!(info.metadata("mode"), Some("100754"));
    assert_eq!(
        info.metadata("mc-attrs"),
        Some("atime:1580702706#123456789/mode:33260/mtime:1580702706#123456789")
    );
    let link = sent(0, 0o120_777);
    assert_eq!(link.metadata("mode"), Some("120777"));
    assert_eq!(link.metadata("mc-attrs"), None);
}

#[test]
fn the_conventions_of_others_are_read() {
    let mc = "atime:1#1/gid:0/gname:root/mode:33260/mtime:1580702706#123456789/uid:0/uname:root";
    let time = 1_580_702_706_123_456_789;
    for (pairs, expected_mode, expected_time) in [
        (&[("mc-attrs", mc)][..], 0o754, time),
        (&[("s3cmd-attrs", mc)], 0o754, time),
        (
            &[("mode", "100754"), ("mtime", "1580702706.123456789")],
            0o754,
            time,
        ),
        (
            &[("mode", "33260"), ("mtime", "1580702706")],
            0o754,
            1_580_702_706_000_000_000,
        ),
        (
            &[
                ("file-permissions", "0100754"),
                ("file-mtime", "1580702706123456789ns"),
            ],
            0o754,
            time,
        ),
        (
            &[
                ("file-permissions", "0754"),
                ("file-mtime", "1580702706123"),
            ],
            0o754,
            1_580_702_706_123_000_000,
        ),
        // The first convention that makes sense wins.
        (
            &[("mode", "0640"), ("mtime", "7"), ("mc-attrs", mc)],
            0o640,
            7_000_000_000,
        ),
        (
            &[("mode", "junk"), ("mtime", "junk"), ("mc-attrs", mc)],
            0o754,
            time,
        ),
        (
            &[("mode", "755"), ("mtime", "0.5000000001")],
            0o755,
            500_000_000,
        ),
        (
            &[("mode", "755"), ("mc-attrs", "mtime:1#5")],
            0o755,
            1_000_000_005,
        ),
    ] {
        assert_eq!(mode(&with(pairs)), Some(expected_mode), "{pairs:?}");
        assert_eq!(nanoseconds(&with(pairs)), Some(expected_time), "{pairs:?}");
    }
    for (name, value) in [
        ("mode", "41471"),
        ("mode", "120777"),
        ("file-permissions", "0120777"),
    ] {
        let info = with(&[(name, value)]);
        assert_eq!(kind(&key("a"), &info), ObjectKind::Link, "{name} {value}");
    }
}

#[test]
fn hostile_and_broken_attributes_are_ignored() {
    for text in [
        "0777777",
        "7777777",
        "000",
        "rwx",
        "",
        "-1",
        "99999999999999999999",
        "\0",
        "0100000",
        "040755",
        "16877",
        "060644",
        "+",
        "４４",
    ] {
        assert_eq!(mode(&with(&[("mode", text)])), None, "{text:?}");
        assert_eq!(kind(&key("a"), &with(&[("mode", text)])), ObjectKind::File);
    }
    assert_eq!(mode(&with(&[("mode", "104755")])), Some(0o755));
    for text in [
        "yesterday",
        "292277026596",
        "-292277026596",
        "9223372036854775807",
        "1e9",
        "NaN",
        "1.-5",
        "1.5x",
        "1,5",
        "",
        ".",
        "\0",
        "1.\u{663}",
    ] {
        assert_eq!(modified(&with(&[("mtime", text)])), None, "{text:?}");
    }
    for text in [
        "18446744073709551615ns",
        "-5",
        "ns",
        "99999999999999999999",
        "9223372036854775807",
    ] {
        assert_eq!(modified(&with(&[("file-mtime", text)])), None, "{text:?}");
    }
    for text in [
        "mtime:1#9999999999",
        "mtime:1#x",
        "mtime",
        ":::///",
        "mtime:1:2",
    ] {
        assert_eq!(modified(&with(&[("mc-attrs", text)])), None, "{text:?}");
    }
}
