//! The one place where SDK errors become [`StoreError`]s.

use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::store::{StoreError, StoreErrorKind};

/// Classifies an SDK error once, by the store's error code first and the HTTP status where the code says nothing.
pub(super) fn classify<E>(
    operation: &'static str,
    key: &str,
    error: &SdkError<E, HttpResponse>,
) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let (kind, message) = match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or_default();
            let status = service.raw().status().as_u16();
            let retry_after = service
                .raw()
                .headers()
                .get("retry-after")
                .and_then(|text| text.parse().ok());
            let said = service.err().message().unwrap_or_default();
            let message = match (code, said) {
                ("", "") => format!("HTTP {status}"),
                (code, "") => code.to_owned(),
                ("", said) => said.to_owned(),
                (code, said) => format!("{code}: {said}"),
            };
            (
                if blames_the_keys(code, said) {
                    StoreErrorKind::BadCredentials
                } else {
                    kind_of(
                        operation,
                        code,
                        status,
                        retry_after.map(Duration::from_secs),
                    )
                },
                message,
            )
        }
        SdkError::ResponseError(response) => {
            let status = response.raw().status().as_u16();
            (
                kind_of(operation, "", status, None),
                format!("HTTP {status}, not understood"),
            )
        }
        SdkError::TimeoutError(_) => (StoreErrorKind::Unreachable, "no answer in time".to_owned()),
        // The body that we give, not the connection: the file got shorter while it was sent.
        SdkError::DispatchFailure(failure) if failure.is_user() => (
            StoreErrorKind::Rejected,
            "the file changed while it was sent".to_owned(),
        ),
        SdkError::DispatchFailure(failure) => match failure.as_connector_error() {
            Some(cause) => (StoreErrorKind::Unreachable, root_cause(cause)),
            None => (StoreErrorKind::Unreachable, String::new()),
        },
        // Building fails where there are no credentials at all; other causes are programming errors.
        SdkError::ConstructionFailure(_) | _ => (StoreErrorKind::BadCredentials, root_cause(error)),
    };
    StoreError {
        operation,
        key: key.to_owned(),
        kind,
        message,
        source: None,
    }
}

/// Garage answers wrong keys with the code of a refusal; only its words tell the two apart.
fn blames_the_keys(code: &str, said: &str) -> bool {
    code == "AccessDenied"
        && ["Invalid signature", "No such key"]
            .iter()
            .any(|words| said.contains(words))
}

fn kind_of(
    operation: &str,
    code: &str,
    status: u16,
    retry_after: Option<Duration>,
) -> StoreErrorKind {
    match code {
        "NoSuchBucket" => return StoreErrorKind::NoBucket,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "RequestTimeTooSkewed" => return StoreErrorKind::BadCredentials,
        "BadDigest"
        | "XAmzContentChecksumMismatch"
        | "XAmzContentSHA256Mismatch"
        | "InvalidDigest"
        | "IncompleteBody" => {
            return StoreErrorKind::Rejected;
        }
        "NotImplemented" => return StoreErrorKind::Other,
        "SlowDown" | "RequestTimeout" => return StoreErrorKind::Unavailable { retry_after },
        _ => {}
    }
    match status {
        // A conditional write on a key that is gone: somebody else was first (AWS and MinIO answer 404 then).
        404 if matches!(operation, "PUT" | "DELETE") => StoreErrorKind::Precondition,
        404 => StoreErrorKind::NotFound,
        304 | 409 | 412 => StoreErrorKind::Precondition,
        401 | 403 => StoreErrorKind::Denied,
        501 => StoreErrorKind::Other,
        429 | 500..=599 => StoreErrorKind::Unavailable { retry_after },
        _ => StoreErrorKind::Other,
    }
}

/// The innermost message: the outer ones only say that dispatching failed.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
