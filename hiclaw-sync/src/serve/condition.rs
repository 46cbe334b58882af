//! Conditions of requests: what state an object has to be in for a read or a write to go on.
//!
//! Pure: the caller looks up the state, and for writes does so inside the transaction that changes it.

use s3s::dto::{ETagCondition, Timestamp};

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
    /// True when there is something to check.
    pub(crate) fn is_given(&self) -> bool {
        self.if_match.is_some() || self.if_none_match.is_some()
    }

    /// Refuses when the object, whose `ETag` is `current` if it is there, is in another state.
    pub(crate) fn check(&self, key: &str, current: Option<&str>) -> Result<(), StoreError> {
        match (&self.if_match, current) {
            (Some(_), None) => {
                return Err(StoreError::NoSuchKey {
                    key: key.to_owned(),
                });
            }
            (Some(wanted), Some(etag)) if !is_same(wanted, etag) => {
                return Err(StoreError::PreconditionFailed);
            }
            (Some(_) | None, Some(_)) | (None, None) => {}
        }
        match (&self.if_none_match, current) {
            (Some(unwanted), Some(etag)) if is_same(unwanted, etag) => {
                Err(StoreError::PreconditionFailed)
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }
}

/// The condition of a read, or on the source of a copy.
#[expect(clippy::struct_field_names, reason = "the names of the headers")]
#[derive(Debug, Default)]
pub(crate) struct ReadCondition {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
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
    ///
    /// `modified` is in whole seconds, as dates in headers are.
    pub(crate) fn judge(&self, etag: &str, modified: &Timestamp) -> Verdict {
        let is_wanted = match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) => is_same(wanted, etag),
            (None, Some(since)) => modified <= since,
            (None, None) => true,
        };
        let is_known = match (&self.if_none_match, &self.if_modified_since) {
            (Some(known), _) => is_same(known, etag),
            (None, Some(since)) => modified <= since,
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

    fn etag(text: &str) -> ETagCondition {
        ETagCondition::ETag(ETag::Strong(text.to_owned()))
    }

    #[test]
    fn a_write_goes_on_only_in_the_state_it_asks_for() {
        let any = Some(ETagCondition::Any);
        let table = [
            (None, None, None, "ok"),
            (None, None, Some("a"), "ok"),
            (Some(etag("a")), None, Some("a"), "ok"),
            (Some(etag("a")), None, Some("b"), "412"),
            (Some(etag("a")), None, None, "404"),
            (any.clone(), None, Some("b"), "ok"),
            (any.clone(), None, None, "404"),
            (None, any.clone(), None, "ok"),
            (None, any.clone(), Some("a"), "412"),
            (None, Some(etag("a")), Some("a"), "412"),
            (None, Some(etag("a")), Some("b"), "ok"),
        ];
        for (if_match, if_none_match, current, expected) in table {
            let condition = WriteCondition {
                if_match,
                if_none_match,
            };
            let found = match condition.check("k", current) {
                Ok(()) => "ok",
                Err(StoreError::PreconditionFailed) => "412",
                Err(StoreError::NoSuchKey { .. }) => "404",
                Err(other) => panic!("{other}"),
            };
            assert_eq!(found, expected, "{condition:?} on {current:?}");
        }
    }

    fn second(number: u64) -> Timestamp {
        (std::time::UNIX_EPOCH + std::time::Duration::from_secs(number)).into()
    }

    #[test]
    fn a_condition_on_the_etag_makes_the_one_on_the_time_void() {
        let none = ReadCondition::default;
        let table = [
            (
                ReadCondition {
                    if_match: Some(etag("a")),
                    if_unmodified_since: Some(second(1)),
                    ..none()
                },
                Verdict::Proceed,
            ),
            (
                ReadCondition {
                    if_none_match: Some(etag("b")),
                    if_modified_since: Some(second(9)),
                    ..none()
                },
                Verdict::Proceed,
            ),
            (
                ReadCondition {
                    if_modified_since: Some(second(5)),
                    ..none()
                },
                Verdict::NotModified,
            ),
            (
                ReadCondition {
                    if_modified_since: Some(second(4)),
                    ..none()
                },
                Verdict::Proceed,
            ),
            (
                ReadCondition {
                    if_unmodified_since: Some(second(4)),
                    ..none()
                },
                Verdict::Failed,
            ),
            (
                ReadCondition {
                    if_match: Some(etag("a")),
                    if_none_match: Some(etag("a")),
                    ..none()
                },
                Verdict::NotModified,
            ),
            (
                ReadCondition {
                    if_match: Some(etag("b")),
                    if_none_match: Some(etag("a")),
                    ..none()
                },
                Verdict::Failed,
            ),
        ];
        for (condition, expected) in table {
            assert_eq!(condition.judge("a", &second(5)), expected, "{condition:?}");
        }
    }
}
