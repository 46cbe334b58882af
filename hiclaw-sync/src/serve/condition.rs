//! Conditions of requests: what state an object has to be in for a read or a write to go on.
//!
//! Pure: the caller looks up the state, and for writes does so inside the transaction that changes it.

use s3s::dto::ETagCondition;

use super::error::StoreError;

/// The condition of a write, a delete, or the completion of an upload.
#[derive(Debug, Default)]
pub(crate) struct WriteCondition {
    /// The object must be there, with this `ETag`.
    pub(crate) if_match: Option<ETagCondition>,
    /// No object with this `ETag` (or, for `*`, none at all) may be there.
    pub(crate) if_none_match: Option<ETagCondition>,
}

impl WriteCondition {
    /// Refuses when the object, whose `ETag` is `current` if it is there, is in another state.
    pub(crate) fn check(&self, key: &str, current: Option<&str>) -> Result<(), StoreError> {
        match (&self.if_match, current) {
            (Some(_), None) => return Err(StoreError::NoSuchKey { key: key.to_owned() }),
            (Some(wanted), Some(etag)) if !is_same(wanted, etag) => return Err(StoreError::PreconditionFailed),
            (Some(_) | None, Some(_)) | (None, None) => {}
        }
        match (&self.if_none_match, current) {
            (Some(unwanted), Some(etag)) if is_same(unwanted, etag) => Err(StoreError::PreconditionFailed),
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }
}

/// The condition of a read, or on the source of a copy. Times are seconds since 1970, as precise as HTTP dates are.
#[derive(Debug, Default)]
pub(crate) struct ReadCondition {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<i64>,
    pub(crate) if_unmodified_since: Option<i64>,
}

/// What a [`ReadCondition`] says about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer with the object.
    Proceed,
    /// The client has this version already.
    NotModified,
    /// The client asked for another version.
    Failed,
}

impl ReadCondition {
    /// Judges by the rules of HTTP: a condition on the `ETag` makes the one on the time beside it void.
    pub(crate) fn judge(&self, etag: &str, modified_seconds: i64) -> Verdict {
        let is_wanted = match (&self.if_match, self.if_unmodified_since) {
            (Some(wanted), _) => is_same(wanted, etag),
            (None, Some(since)) => modified_seconds <= since,
            (None, None) => true,
        };
        let is_known = match (&self.if_none_match, self.if_modified_since) {
            (Some(known), _) => is_same(known, etag),
            (None, Some(since)) => modified_seconds <= since,
            (None, None) => false,
        };
        match (is_wanted, is_known) {
            (false, _) => Verdict::Failed,
            (true, true) => Verdict::NotModified,
            (true, false) => Verdict::Proceed,
        }
    }
}

fn is_same(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.value() == etag,
    }
}

#[cfg(test)]
mod tests {
    use s3s::dto::ETag;

    use super::*;

    fn etag(text: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(ETag::Strong(text.to_owned())))
    }

    #[test]
    fn a_write_goes_on_only_in_the_state_it_asks_for() {
        let any = Some(ETagCondition::Any);
        let table = [
            (None, None, None, "ok"),
            (None, None, Some("a"), "ok"),
            (etag("a"), None, Some("a"), "ok"),
            (etag("a"), None, Some("b"), "412"),
            (etag("a"), None, None, "404"),
            (any.clone(), None, Some("b"), "ok"),
            (any.clone(), None, None, "404"),
            (None, any.clone(), None, "ok"),
            (None, any.clone(), Some("a"), "412"),
            (None, etag("a"), Some("a"), "412"),
            (None, etag("a"), Some("b"), "ok"),
        ];
        for (if_match, if_none_match, current, expected) in table {
            let condition = WriteCondition { if_match, if_none_match };
            let found = match condition.check("k", current) {
                Ok(()) => "ok",
                Err(StoreError::PreconditionFailed) => "412",
                Err(StoreError::NoSuchKey { .. }) => "404",
                Err(other) => panic!("{other}"),
            };
            assert_eq!(found, expected, "{condition:?} on {current:?}");
        }
    }

    #[test]
    fn a_condition_on_the_etag_makes_the_one_on_the_time_void() {
        let both = ReadCondition { if_match: etag("a"), if_unmodified_since: Some(1), ..ReadCondition::default() };
        assert_eq!(both.judge("a", 5), Verdict::Proceed);
        let both = ReadCondition { if_none_match: etag("b"), if_modified_since: Some(9), ..ReadCondition::default() };
        assert_eq!(both.judge("a", 5), Verdict::Proceed);
        let time = ReadCondition { if_modified_since: Some(5), ..ReadCondition::default() };
        assert_eq!(time.judge("a", 5), Verdict::NotModified);
        let time = ReadCondition { if_unmodified_since: Some(4), ..ReadCondition::default() };
        assert_eq!(time.judge("a", 5), Verdict::Failed);
        let known = ReadCondition { if_match: etag("a"), if_none_match: etag("a"), ..ReadCondition::default() };
        assert_eq!(known.judge("a", 5), Verdict::NotModified);
    }
}
