//! Checksums that travel with content: their names, values, and how they are computed, compared and combined.
//!
//! Owns everything about `x-amz-checksum-*` but the reading and writing of headers. Never touches files.

mod expected;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use crc_fast::CrcAlgorithm;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use serde::{Deserialize, Serialize};

pub(crate) use self::expected::{Digests, Expected, Hasher};
use super::error::StoreError;

/// A checksum algorithm of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    pub(crate) const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    /// As clients name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The algorithm of this name, in any case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The header or trailer that carries it.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The algorithm under which checksums of pieces can be combined into that of the whole.
    fn combinable(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    fn digest(self, data: &[u8]) -> String {
        match self {
            Self::Crc32 => STANDARD.encode(Crc32::checksum(data)),
            Self::Crc32c => STANDARD.encode(Crc32c::checksum(data)),
            Self::Crc64Nvme => STANDARD.encode(Crc64Nvme::checksum(data)),
            Self::Sha1 => STANDARD.encode(Sha1::checksum(data)),
            Self::Sha256 => STANDARD.encode(Sha256::checksum(data)),
        }
    }
}

/// What a checksum of a multipart object is taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Span {
    /// The whole content.
    #[default]
    FullObject,
    /// The checksums of its parts.
    Composite,
}

impl Span {
    /// As clients name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    /// The span of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite]
            .into_iter()
            .find(|span| span.name().eq_ignore_ascii_case(name))
    }
}

/// Checksums of one content, in base64 as they travel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checksums {
    values: BTreeMap<Algorithm, String>,
    #[serde(default)]
    span: Span,
}

impl Checksums {
    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn span(&self) -> Span {
        self.span
    }

    pub(crate) fn get(&self, algorithm: Algorithm) -> Option<&str> {
        self.values.get(&algorithm).map(String::as_str)
    }

    pub(crate) fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.values.keys().copied()
    }

    pub(crate) fn set(&mut self, algorithm: Algorithm, value: Option<String>) {
        if let Some(value) = value {
            self.values.insert(algorithm, value);
        }
    }

    /// Refuses when a value that both hold differs.
    pub(crate) fn check(&self, computed: &Self) -> Result<(), StoreError> {
        for (algorithm, value) in &self.values {
            if computed.get(*algorithm).is_some_and(|other| other != value) {
                return Err(StoreError::BadDigest {
                    algorithm: algorithm.name(),
                });
            }
        }
        Ok(())
    }

    fn decoded(&self, algorithm: Algorithm) -> Option<Vec<u8>> {
        STANDARD
            .decode(self.get(algorithm)?)
            .ok()
            .filter(|raw| raw.len() == algorithm.length())
    }
}

/// The checksum of an object from those of its parts (with their sizes); `None` when a part has none.
pub(crate) fn of_parts<'a>(
    algorithm: Algorithm,
    span: Span,
    parts: impl IntoIterator<Item = (&'a Checksums, u64)>,
) -> Option<Checksums> {
    let mut decoded = Vec::new();
    for (checksums, size_bytes) in parts {
        decoded.push((checksums.decoded(algorithm)?, size_bytes));
    }
    let value = match span {
        Span::Composite => {
            let all: Vec<u8> = decoded
                .iter()
                .flat_map(|(raw, _)| raw.iter().copied())
                .collect();
            format!("{}-{}", algorithm.digest(&all), decoded.len())
        }
        Span::FullObject => {
            let kind = algorithm.combinable()?;
            let numbers = decoded
                .iter()
                .map(|(raw, size_bytes)| (big_endian(raw), *size_bytes));
            let (whole, _) = numbers.reduce(|(left, _), (right, size_bytes)| {
                (
                    crc_fast::checksum_combine(kind, left, right, size_bytes),
                    size_bytes,
                )
            })?;
            let bytes = whole.to_be_bytes();
            STANDARD.encode(bytes.get(bytes.len() - algorithm.length()..)?)
        }
    };
    Some(Checksums {
        values: BTreeMap::from([(algorithm, value)]),
        span,
    })
}

/// The `ETag` of content that came as a whole: its MD5.
pub(crate) fn etag(md5: [u8; 16]) -> String {
    use std::fmt::Write as _;
    md5.iter()
        .fold(String::with_capacity(32), |mut text, byte| {
            // Writing to a text can't fail.
            write!(text, "{byte:02x}").unwrap_or_default();
            text
        })
}

/// The `ETag` of an object that was uploaded in parts: the MD5 of their MD5s, and their number.
pub(crate) fn etag_of_parts<'a>(etags: impl IntoIterator<Item = &'a str>) -> String {
    let (mut md5, mut count) = (Md5::new(), 0);
    for part in etags {
        let raw: Vec<u8> = (0..part.len())
            .step_by(2)
            .filter_map(|at| {
                part.get(at..at + 2)
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            })
            .collect();
        md5.update(&raw);
        count += 1;
    }
    format!("{}-{count}", etag(md5.finalize()))
}

fn big_endian(raw: &[u8]) -> u64 {
    raw.iter()
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(data: &[u8]) -> Checksums {
        let mut hasher = Hasher::default();
        for algorithm in Algorithm::ALL {
            hasher.enable(algorithm);
        }
        hasher.update(data);
        hasher.finish().checksums
    }

    #[test]
    fn checksums_of_parts_combine_to_that_of_the_whole() {
        let (left, right) = (digests(b"hello "), digests(b"world"));
        let whole = digests(b"hello world");
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let combined =
                of_parts(algorithm, Span::FullObject, [(&left, 6), (&right, 5)]).unwrap();
            assert_eq!(
                combined.get(algorithm),
                whole.get(algorithm),
                "{algorithm:?}"
            );
        }
        assert!(
            of_parts(
                Algorithm::Sha256,
                Span::FullObject,
                [(&left, 6), (&right, 5)]
            )
            .is_none()
        );
    }

    #[test]
    fn a_composite_checksum_is_that_of_the_parts_checksums() {
        let (left, right) = (digests(b"hello "), digests(b"world"));
        let both: Vec<u8> = [&left, &right]
            .iter()
            .flat_map(|part| part.decoded(Algorithm::Sha256).unwrap())
            .collect();
        let composite = of_parts(
            Algorithm::Sha256,
            Span::Composite,
            [(&left, 6), (&right, 5)],
        )
        .unwrap();
        assert_eq!(
            composite.get(Algorithm::Sha256).unwrap(),
            format!("{}-2", Algorithm::Sha256.digest(&both))
        );
    }

    #[test]
    fn the_known_checksums_of_nine_digits_are_computed() {
        let known = digests(b"123456789");
        assert_eq!(
            known.get(Algorithm::Crc32).unwrap(),
            STANDARD.encode(0xcbf4_3926_u32.to_be_bytes())
        );
        assert_eq!(
            known.get(Algorithm::Crc32c).unwrap(),
            STANDARD.encode(0xe306_9283_u32.to_be_bytes())
        );
        assert_eq!(
            known.get(Algorithm::Crc64Nvme).unwrap(),
            STANDARD.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes())
        );
    }

    #[test]
    fn the_etag_of_parts_is_the_md5_of_their_md5s() {
        let parts = [
            etag(Md5::checksum(b"hello ")),
            etag(Md5::checksum(b"world")),
        ];
        assert_eq!(parts[1], "7d793037a0760186574b0282f2f435e7");
        let both = [Md5::checksum(b"hello "), Md5::checksum(b"world")].concat();
        assert_eq!(
            etag_of_parts(parts.iter().map(|part| &**part)),
            format!("{}-2", etag(Md5::checksum(&both)))
        );
    }
}
