//! Moves values between the protocol's many structures, which share names of fields but no type.
//!
//! Owns no logic. These are macros because only the names of the fields are the same.

/// The checksums that a request names in its headers or in its body.
macro_rules! given_checksums {
    ($input:expr) => {{
        use $crate::serve::checksum::{Algorithm, Checksums};
        let mut checksums = Checksums::default();
        checksums.set(Algorithm::Crc32, $input.checksum_crc32.take());
        checksums.set(Algorithm::Crc32c, $input.checksum_crc32c.take());
        checksums.set(Algorithm::Crc64Nvme, $input.checksum_crc64nvme.take());
        checksums.set(Algorithm::Sha1, $input.checksum_sha1.take());
        checksums.set(Algorithm::Sha256, $input.checksum_sha256.take());
        checksums
    }};
}

/// Puts checksums into an answer.
macro_rules! put_checksums {
    ($output:expr, $checksums:expr) => {{
        use $crate::serve::checksum::Algorithm;
        let checksums = $checksums;
        let value = |algorithm| checksums.get(algorithm).map(str::to_owned);
        $output.checksum_crc32 = value(Algorithm::Crc32);
        $output.checksum_crc32c = value(Algorithm::Crc32c);
        $output.checksum_crc64nvme = value(Algorithm::Crc64Nvme);
        $output.checksum_sha1 = value(Algorithm::Sha1);
        $output.checksum_sha256 = value(Algorithm::Sha256);
    }};
}

/// Says what kind of checksums an answer holds.
macro_rules! put_checksum_type {
    ($output:expr, $checksums:expr) => {
        if !$checksums.is_empty() {
            $output.checksum_type = Some(s3s::dto::ChecksumType::from_static(
                $checksums.span().name(),
            ));
        }
    };
}

/// Describes an object in the answer to a read.
macro_rules! put_description {
    ($output:expr, $row:expr) => {{
        let headers = &$row.details.headers;
        $output.accept_ranges = Some("bytes".to_owned());
        $output.e_tag = Some(s3s::dto::ETag::Strong($row.etag.clone()));
        $output.last_modified = Some($crate::serve::clock::seconds($row.modified));
        $output.content_type = headers
            .content_type
            .clone()
            .or_else(|| Some("binary/octet-stream".to_owned()));
        $output.cache_control.clone_from(&headers.cache_control);
        $output
            .content_disposition
            .clone_from(&headers.content_disposition);
        $output
            .content_encoding
            .clone_from(&headers.content_encoding);
        $output
            .content_language
            .clone_from(&headers.content_language);
        $output.expires.clone_from(&headers.expires);
        if !headers.metadata.is_empty() {
            $output.metadata = Some(headers.metadata.clone().into_iter().collect());
        }
    }};
}

/// The headers of an object that a request gives; refuses more metadata than the protocol allows.
macro_rules! given_headers {
    ($input:expr) => {{
        let metadata: std::collections::BTreeMap<String, String> = $input
            .metadata
            .take()
            .unwrap_or_default()
            .into_iter()
            .collect();
        let size: usize = metadata
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if size > $crate::serve::details::MAXIMUM_METADATA_BYTES {
            return Err(s3s::s3_error!(
                MetadataTooLarge,
                "Your metadata headers exceed the maximum allowed metadata size"
            ));
        }
        $crate::serve::details::Headers {
            content_type: $input.content_type.take(),
            cache_control: $input.cache_control.take(),
            content_disposition: $input.content_disposition.take(),
            content_encoding: $crate::serve::details::stored_encoding(
                $input.content_encoding.take().as_deref(),
            ),
            content_language: $input.content_language.take(),
            expires: $input.expires.take(),
            metadata,
        }
    }};
}

/// Refuses encryption with a key of the client's: content is kept as it comes.
macro_rules! refuse_customer_keys {
    ($input:expr) => {
        if $input.sse_customer_algorithm.is_some() {
            return Err(s3s::s3_error!(
                NotImplemented,
                "Encryption with keys of the client is not supported."
            ));
        }
    };
}

pub(crate) use {
    given_checksums, given_headers, put_checksum_type, put_checksums, put_description,
    refuse_customer_keys,
};
