//! What tells two contents apart: our SHA-256 and the store's ETag.

mod parted;

use std::fmt;

pub use self::parted::{PartedDigest, PartedHasher};

/// The SHA-256 of a file's whole content.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Takes the 32 bytes of a SHA-256.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Takes a SHA-256 of whatever length the bytes have; `None` unless they are 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        to_hex(&self.0)
    }

    /// Takes 64 hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.len() != 2 * bytes.len() || !digits {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Takes the form that `x-amz-checksum-sha256` has; `None` unless it is one of 32 bytes.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text);
        Self::from_slice(&bytes.ok()?)
    }

    /// The form that `x-amz-checksum-sha256` has.
    #[must_use]
    pub fn to_base64(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// An object's entity tag, without quotes; opaque but for [`ETag::as_md5`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ETag(String);

impl ETag {
    /// Takes an ETag as a store sends it, quoted or not.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim_matches('"').to_owned())
    }

    /// The tag without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag in the quotes that `If-Match` wants.
    #[must_use]
    pub fn to_quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }

    /// The tag, where it has the form of an MD5. It need not be one: encrypted objects have random tags of this form, so
    /// an equal MD5 proves equality and a different one proves nothing.
    #[must_use]
    pub fn as_md5(&self) -> Option<&str> {
        (self.0.len() == 32 && self.0.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .then_some(&*self.0)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 and length of one content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizedDigest {
    /// The SHA-256.
    pub digest: Digest,
    /// Number of bytes hashed.
    pub size_bytes: u64,
}

/// Computes a [`SizedDigest`] piece by piece. MD5 takes three times as long as SHA-256 where the processor helps with
/// the latter, so it is computed only where an `ETag` is to be compared: see [`ContentHasher`].
#[derive(Clone, Default)]
pub struct DigestHasher {
    sha256: sha2::Sha256,
    size_bytes: u64,
}

impl DigestHasher {
    /// Number of bytes hashed so far.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Adds the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        self.sha256.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    /// The hash of all pieces.
    #[must_use]
    pub fn finish(self) -> SizedDigest {
        use sha2::Digest as _;
        SizedDigest {
            digest: Digest(self.sha256.finalize().into()),
            size_bytes: self.size_bytes,
        }
    }
}

impl fmt::Debug for DigestHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestHasher")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

/// SHA-256 and MD5 of one content, computed in one reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentHash {
    /// The SHA-256.
    pub digest: Digest,
    /// The MD5 as 32 lower-case hexadecimal digits.
    pub md5_hex: String,
    /// Number of bytes hashed.
    pub size_bytes: u64,
}

/// Computes a [`ContentHash`] piece by piece.
#[derive(Clone, Default)]
pub struct ContentHasher {
    sha256: sha2::Sha256,
    md5: md5::Md5,
    size_bytes: u64,
}

impl ContentHasher {
    /// Number of bytes hashed so far.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Adds the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        use sha2::Digest as _;
        self.sha256.update(bytes);
        self.md5.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    /// The hashes of all pieces.
    #[must_use]
    pub fn finish(self) -> ContentHash {
        use sha2::Digest as _;
        ContentHash {
            digest: Digest(self.sha256.finalize().into()),
            md5_hex: to_hex(&self.md5.finalize()),
            size_bytes: self.size_bytes,
        }
    }
}

impl ContentHash {
    /// The same without the MD5.
    #[must_use]
    pub fn sized_digest(&self) -> SizedDigest {
        SizedDigest {
            digest: self.digest,
            size_bytes: self.size_bytes,
        }
    }
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContentHasher")
            .field("size_bytes", &self.size_bytes)
            .finish_non_exhaustive()
    }
}

fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            write!(text, "{byte:02x}").unwrap_or_default();
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_empty_and_of_a_known_text() {
        let empty = ContentHasher::default().finish();
        assert_eq!(empty.md5_hex, "d41d8cd98f00b204e9800998ecf8427e");
        let mut hasher = ContentHasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        let hash = hasher.finish();
        assert_eq!(hash.md5_hex, "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(
            hash.digest.to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hash.digest.to_base64(),
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
        );
        assert_eq!(hash.size_bytes, 3);
        let digest = hash.digest;
        assert_eq!(Digest::from_hex(&digest.to_hex()), Some(digest));
        assert_eq!(Digest::from_base64(&digest.to_base64()), Some(digest));
        for wrong in [
            "",
            "ba78",
            &"é".repeat(32),
            &"g".repeat(64),
            &"+1".repeat(32),
        ] {
            assert_eq!(Digest::from_hex(wrong), None, "{wrong}");
            assert_eq!(Digest::from_base64(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_a_single_part_tag_has_the_form_of_an_md5() {
        assert!(
            ETag::new("\"900150983cd24fb0d6963f7d28e17f72\"")
                .as_md5()
                .is_some()
        );
        assert!(
            ETag::new("900150983cd24fb0d6963f7d28e17f72-2")
                .as_md5()
                .is_none()
        );
    }
}
