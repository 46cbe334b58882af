//! The hash of a content and of each of its parts, in one reading.

use super::{Digest, DigestHasher, SizedDigest};

/// SHA-256 of a content and of its parts, all of one length but for the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartedDigest {
    /// Of the whole.
    pub whole: SizedDigest,
    /// Length of every part but the last.
    pub part_bytes: u64,
    /// Of the parts, in order; empty for an empty content.
    pub parts: Vec<Digest>,
}

impl PartedDigest {
    /// Where a part lies, counted from 0, and its length.
    #[must_use]
    pub fn extent(&self, index: u64) -> (u64, u64) {
        let offset = index.saturating_mul(self.part_bytes);
        let rest = self.whole.size_bytes.saturating_sub(offset);
        (offset, rest.min(self.part_bytes))
    }
}

/// Computes a [`PartedDigest`] piece by piece.
#[derive(Debug)]
pub struct PartedHasher {
    whole: DigestHasher,
    part: DigestHasher,
    part_bytes: u64,
    left_bytes: u64,
    parts: Vec<Digest>,
}

impl PartedHasher {
    /// For parts of this length, one byte at least.
    #[must_use]
    pub fn new(part_bytes: u64) -> Self {
        let part_bytes = part_bytes.max(1);
        Self {
            whole: DigestHasher::default(),
            part: DigestHasher::default(),
            part_bytes,
            left_bytes: part_bytes,
            parts: Vec::new(),
        }
    }

    /// Adds the next piece, whatever parts it belongs to.
    pub fn update(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            let fits = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
            let (head, tail) = rest.split_at_checked(fits).unwrap_or((rest, &[]));
            self.part.update(head);
            self.left_bytes -= head.len() as u64;
            if self.left_bytes == 0 {
                self.end_part();
            }
            rest = tail;
        }
    }

    fn end_part(&mut self) {
        self.parts
            .push(std::mem::take(&mut self.part).finish().digest);
        self.left_bytes = self.part_bytes;
    }

    /// The hashes of all pieces.
    #[must_use]
    pub fn finish(mut self) -> PartedDigest {
        if self.left_bytes < self.part_bytes {
            self.end_part();
        }
        PartedDigest {
            whole: self.whole.finish(),
            part_bytes: self.part_bytes,
            parts: self.parts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(bytes: &[u8]) -> Digest {
        let mut hasher = DigestHasher::default();
        hasher.update(bytes);
        hasher.finish().digest
    }

    #[test]
    fn parts_are_those_of_the_content_however_it_comes_in() {
        let content: Vec<u8> = (0..=255).collect();
        for part_bytes in [1, 7, 64, 128, 255, 256, 257] {
            for piece_bytes in [1, 3, 64, 100, 256] {
                for size in [0, 1, 63, 64, 65, 129, 256] {
                    let content = &content[..size];
                    let mut hasher = PartedHasher::new(part_bytes as u64);
                    content
                        .chunks(piece_bytes)
                        .for_each(|piece| hasher.update(piece));
                    let found = hasher.finish();
                    let parts: Vec<_> = content.chunks(part_bytes).map(digest).collect();
                    assert_eq!(found.parts, parts, "{size} in parts of {part_bytes}");
                    assert_eq!(found.whole.digest, digest(content));
                    assert_eq!(found.whole.size_bytes, size as u64);
                }
            }
        }
    }

    #[test]
    fn the_last_part_is_what_is_left() {
        let mut hasher = PartedHasher::new(4);
        hasher.update(b"0123456789");
        let found = hasher.finish();
        let extents: Vec<_> = (0..3).map(|index| found.extent(index)).collect();
        assert_eq!(extents, [(0, 4), (4, 4), (8, 2)]);
    }
}
