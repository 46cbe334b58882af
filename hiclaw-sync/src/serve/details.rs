//! What is kept about an object besides its content: the headers its writer gave and its checksums.
//!
//! Owns their form in the catalogue. Never interprets a header, but for `aws-chunked`, which is a matter of transport.

use std::collections::BTreeMap;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use s3s::dto::Timestamp;
use serde::{Deserialize, Serialize};

use super::checksum::Checksums;

/// Longest metadata of an object, names and values together.
pub(crate) const MAXIMUM_METADATA_BYTES: usize = 2048;

/// Headers given with a write and given back with every read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Headers {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_control: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_disposition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    /// `x-amz-meta-*`, without that beginning.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Everything about an object that no query looks at.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Details {
    pub(crate) headers: Headers,
    #[serde(skip_serializing_if = "Checksums::is_empty")]
    pub(crate) checksums: Checksums,
    /// Sizes of the parts it was uploaded in; empty when it came as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts_bytes: Vec<u64>,
}

/// Makes a type travel through SQLite as JSON text.
macro_rules! json_column {
    ($name:ty) => {
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                serde_json::to_string(self)
                    .map(ToSqlOutput::from)
                    .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                serde_json::from_str(value.as_str()?)
                    .map_err(|error| FromSqlError::Other(Box::new(error)))
            }
        }
    };
}

json_column!(Headers);
json_column!(Details);
json_column!(Checksums);

/// The content encoding without `aws-chunked`, which some clients put there for the time of the transport.
pub(crate) fn stored_encoding(header: Option<&str>) -> Option<String> {
    let kept: Vec<&str> = header?
        .split(',')
        .map(str::trim)
        .filter(|coding| *coding != "aws-chunked")
        .collect();
    (!kept.is_empty()).then(|| kept.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transport_encoding_is_not_kept() {
        for (given, kept) in [
            (None, None),
            (Some("aws-chunked"), None),
            (Some("gzip"), Some("gzip")),
            (Some("gzip,aws-chunked"), Some("gzip")),
            (Some("aws-chunked, br"), Some("br")),
        ] {
            assert_eq!(stored_encoding(given).as_deref(), kept, "{given:?}");
        }
    }
}
