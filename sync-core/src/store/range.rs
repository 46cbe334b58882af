//! Cutting a stretch out of a content that comes as a whole.

use std::ops::Range;

use futures_util::StreamExt as _;

use super::Object;

/// The same object with only `range` of its content.
pub(crate) fn cut(object: Object, range: Range<u64>) -> Object {
    let pieces = object.body.scan(0_u64, move |position, piece| {
        if *position >= range.end {
            // What comes behind it is not read.
            return std::future::ready(None);
        }
        let piece = piece.map(|bytes| {
            let start = *position;
            *position += bytes.len() as u64;
            let within = |at: u64| {
                let at = at.saturating_sub(start).min(bytes.len() as u64);
                usize::try_from(at).unwrap_or(bytes.len())
            };
            bytes.slice(within(range.start)..within(range.end))
        });
        std::future::ready(Some(piece))
    });
    let wanted = pieces
        .filter(|piece| std::future::ready(piece.as_ref().map_or(true, |bytes| !bytes.is_empty())));
    Object {
        info: object.info,
        body: wanted.boxed(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::TryStreamExt as _;

    use super::*;
    use crate::{
        digest::ETag,
        store::{ObjectInfo, StoreError},
    };

    fn object(pieces: &[&'static str]) -> Object {
        let pieces: Vec<Result<Bytes, StoreError>> = pieces
            .iter()
            .map(|piece| Ok(Bytes::from_static(piece.as_bytes())))
            .collect();
        Object {
            info: ObjectInfo {
                etag: ETag::new("e"),
                size_bytes: 10,
                modified: None,
                metadata: Vec::new(),
            },
            body: futures_util::stream::iter(pieces).boxed(),
        }
    }

    #[tokio::test]
    async fn only_the_range_is_left() {
        let cases = [
            (0..10, "0123456789"),
            (0..0, ""),
            (3..4, "3"),
            (2..7, "23456"),
            (9..10, "9"),
            (4..99, "456789"),
            (10..20, ""),
        ];
        for (range, expected) in cases {
            let found = cut(object(&["012", "", "34567", "89"]), range.clone());
            let pieces: Vec<Bytes> = found.body.try_collect().await.unwrap();
            assert_eq!(pieces.concat(), expected.as_bytes(), "{range:?}");
        }
    }
}
