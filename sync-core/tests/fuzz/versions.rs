//! Tags and digests as stores send them.

use proptest::prelude::*;
use sync_core::digest::{Digest, ETag};

use super::fuzz;

#[test]
fn entity_tags_and_digests() {
    let tags = "\"{0,2}[0-9a-fA-F]{30,34}(-[0-9]{0,3})?\"{0,2}".prop_map(String::into_bytes);
    fuzz("versions", 1, tags, |input| {
        let text = String::from_utf8_lossy(input);
        let tag = ETag::new(&text);
        prop_assert_eq!(&ETag::new(&tag.to_quoted()), &tag);
        prop_assert!(!tag.as_str().starts_with('"') && !tag.as_str().ends_with('"'));
        if let Some(md5) = tag.as_md5() {
            prop_assert_eq!(md5, tag.as_str());
            prop_assert!(md5.len() == 32 && md5.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        if let Some(digest) = Digest::from_slice(input) {
            prop_assert_eq!(digest.as_bytes().as_slice(), input);
            prop_assert_eq!(digest.to_hex().len(), 64);
        }
        Ok(())
    });
}
