//! What a client says its content hashes to, and what it does hash to.
//!
//! Owns reading the headers and trailers that say so, computing, and comparing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::HeaderMap;
use s3s::{
    checksum::ChecksumHasher,
    crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256},
};

use super::{super::error::StoreError, Algorithm, Checksums};

/// What a client says its content hashes to.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    md5: Option<[u8; 16]>,
    given: Checksums,
    /// Announced to come after the content.
    trailing: Vec<Algorithm>,
    /// Wanted, without a value to compare with.
    wanted: Option<Algorithm>,
}

impl Expected {
    /// Reads what the headers of a request say; `given` are the checksums found among them.
    pub(crate) fn new(
        content_md5: Option<&str>,
        given: Checksums,
        wanted: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Self, ExpectedError> {
        let md5 = match content_md5 {
            None => None,
            Some(text) => {
                let raw = STANDARD
                    .decode(text)
                    .ok()
                    .and_then(|raw| <[u8; 16]>::try_from(raw).ok());
                Some(raw.ok_or(ExpectedError::Md5)?)
            }
        };
        if let Some(algorithm) = given
            .algorithms()
            .find(|algorithm| given.decoded(*algorithm).is_none())
        {
            return Err(ExpectedError::Checksum(algorithm));
        }
        let announced = headers
            .get_all("x-amz-trailer")
            .iter()
            .filter_map(|value| value.to_str().ok());
        let trailing = announced
            .flat_map(|list| list.split(','))
            .filter_map(|name| {
                Algorithm::ALL
                    .into_iter()
                    .find(|algorithm| algorithm.header().eq_ignore_ascii_case(name.trim()))
            })
            .collect();
        Ok(Self {
            md5,
            given,
            trailing,
            wanted: wanted.and_then(Algorithm::from_name),
        })
    }

    /// Starts computing what is needed to compare.
    pub(crate) fn hasher(&self) -> Hasher {
        let mut hasher = Hasher::default();
        for algorithm in self
            .given
            .algorithms()
            .chain(self.trailing.iter().copied())
            .chain(self.wanted)
        {
            hasher.enable(algorithm);
        }
        hasher
    }

    /// Compares what was received with what was said about it, trailers included.
    pub(crate) fn check(
        &self,
        computed: &Digests,
        trailers: Option<&HeaderMap>,
    ) -> Result<(), ExpectedError> {
        if self.md5.is_some_and(|md5| md5 != computed.md5) {
            return Err(StoreError::BadDigest {
                algorithm: "Content-MD5",
            }
            .into());
        }
        self.given.check(&computed.checksums)?;
        for algorithm in &self.trailing {
            let value = trailers
                .and_then(|trailers| trailers.get(algorithm.header()))
                .and_then(|value| value.to_str().ok());
            let value = value.ok_or(ExpectedError::Trailer(*algorithm))?;
            if computed.checksums.get(*algorithm) != Some(value) {
                return Err(StoreError::BadDigest {
                    algorithm: algorithm.name(),
                }
                .into());
            }
        }
        Ok(())
    }
}

/// Why content can't be compared with what a client said about it, or differs from it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExpectedError {
    #[error("The Content-MD5 you specified is not valid.")]
    Md5,
    #[error("Value for {} header is invalid.", .0.header())]
    Checksum(Algorithm),
    #[error("The trailer {} was announced and did not come.", .0.header())]
    Trailer(Algorithm),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ExpectedError> for s3s::S3Error {
    fn from(error: ExpectedError) -> Self {
        let code = match error {
            ExpectedError::Md5 => s3s::S3ErrorCode::InvalidDigest,
            ExpectedError::Checksum(_) | ExpectedError::Trailer(_) => {
                s3s::S3ErrorCode::InvalidRequest
            }
            ExpectedError::Store(error) => return error.into(),
        };
        s3s::S3Error::with_message(code, error.to_string())
    }
}

/// Everything computed over one content.
#[derive(Debug)]
pub(crate) struct Digests {
    pub(crate) md5: [u8; 16],
    pub(crate) checksums: Checksums,
}

/// Computes [`Digests`] while content passes by.
#[derive(Default)]
pub(crate) struct Hasher {
    md5: Md5,
    others: ChecksumHasher,
}

impl Hasher {
    pub(super) fn enable(&mut self, algorithm: Algorithm) {
        match algorithm {
            Algorithm::Crc32 => self.others.crc32 = Some(Crc32::new()),
            Algorithm::Crc32c => self.others.crc32c = Some(Crc32c::new()),
            Algorithm::Crc64Nvme => self.others.crc64nvme = Some(Crc64Nvme::new()),
            Algorithm::Sha1 => self.others.sha1 = Some(Sha1::new()),
            Algorithm::Sha256 => self.others.sha256 = Some(Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, data: &[u8]) {
        self.md5.update(data);
        self.others.update(data);
    }

    pub(crate) fn finish(self) -> Digests {
        let computed = self.others.finalize();
        let mut checksums = Checksums::default();
        checksums.set(Algorithm::Crc32, computed.checksum_crc32);
        checksums.set(Algorithm::Crc32c, computed.checksum_crc32c);
        checksums.set(Algorithm::Crc64Nvme, computed.checksum_crc64nvme);
        checksums.set(Algorithm::Sha1, computed.checksum_sha1);
        checksums.set(Algorithm::Sha256, computed.checksum_sha256);
        Digests {
            md5: self.md5.finalize(),
            checksums,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_or_differing_checksum_is_refused() {
        let headers = HeaderMap::new();
        assert!(matches!(
            Expected::new(Some("nonsense"), Checksums::default(), None, &headers),
            Err(ExpectedError::Md5)
        ));
        let mut given = Checksums::default();
        given.set(Algorithm::Crc32, Some("AAAA".to_owned()));
        assert!(matches!(
            Expected::new(None, given, None, &headers),
            Err(ExpectedError::Checksum(Algorithm::Crc32))
        ));
        let mut given = Checksums::default();
        given.set(Algorithm::Crc32, Some("AAAAAA==".to_owned()));
        let expected = Expected::new(None, given, None, &headers).unwrap();
        let mut hasher = expected.hasher();
        hasher.update(b"x");
        assert!(matches!(
            expected.check(&hasher.finish(), None),
            Err(ExpectedError::Store(StoreError::BadDigest { .. }))
        ));
    }
}
