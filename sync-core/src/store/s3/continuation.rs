//! Continuation tokens that XML could not carry.
//!
//! SeaweedFS continues a listing at a key, and gives that key as the token. XML has no way to write most control
//! characters: its encoder puts U+FFFD in their place, and a listing that is continued there skips keys, or goes round in
//! circles, and looks complete. The key itself was listed, URL-encoded and whole: the token is made from it again.

use crate::store::{StoreError, StoreErrorKind};

/// What an XML encoder puts in the place of what XML can't carry.
const REPLACEMENT: char = '\u{fffd}';

/// The token that the store meant. `last_key` is the last one of the page.
pub(super) fn meant(
    token: String,
    last_key: Option<&str>,
    prefix: &str,
) -> Result<String, StoreError> {
    if !token.contains(REPLACEMENT) {
        return Ok(token);
    }
    // A directory is continued behind its name and a slash.
    let candidates = last_key.map(|key| [key.to_owned(), format!("{key}/")]);
    let meant = candidates
        .into_iter()
        .flatten()
        .find(|candidate| as_xml_carries_it(candidate) == token);
    meant.ok_or_else(|| {
        StoreError::new(
            "LIST",
            prefix,
            StoreErrorKind::Other,
            format!("the continuation token {token:?} was damaged on its way; rename objects with control characters in their key"),
        )
    })
}

fn as_xml_carries_it(text: &str) -> String {
    let carried = |character| match character {
        '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'.. => character,
        _ => REPLACEMENT,
    };
    text.chars().map(carried).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(token: &str, last_key: &str) -> Option<String> {
        super::meant(token.to_owned(), Some(last_key), "p/").ok()
    }

    #[test]
    fn a_token_that_is_whole_stays_as_it_is() {
        for token in ["p/a", "opaque==", "p/tab\tnew\nline", "😀"] {
            assert_eq!(meant(token, "p/z").as_deref(), Some(token));
        }
    }

    #[test]
    fn a_damaged_token_is_made_from_the_last_key_again() {
        for key in ["p/a\u{1}b", "p/\u{1f}", "p/\u{fffe}/\u{1}x", "p/\u{fffd}"] {
            let token = as_xml_carries_it(key);
            assert_eq!(meant(&token, key).as_deref(), Some(key));
            let directory = format!("{key}/");
            assert_eq!(
                meant(&format!("{token}/"), key).as_deref(),
                Some(&*directory)
            );
        }
    }

    #[test]
    fn a_damaged_token_of_another_key_is_refused() {
        assert_eq!(meant("p/a\u{fffd}b", "p/c"), None);
        assert_eq!(
            super::meant("\u{fffd}".to_owned(), None, "p/")
                .unwrap_err()
                .kind,
            StoreErrorKind::Other
        );
    }
}
