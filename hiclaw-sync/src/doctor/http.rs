//! Whether somebody answers on a URL.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client, connect::Connect},
    rt::TokioExecutor,
};

/// Long enough for a service far away, short enough for a person who waits.
const LIMIT: Duration = Duration::from_secs(5);

/// The status of a GET, or why there is none.
pub(super) async fn status(url: &str) -> Result<u16, String> {
    let asked = async {
        if url.starts_with("https://") {
            let connector = hyper_rustls::HttpsConnectorBuilder::new()
                .with_native_roots()
                .map_err(|error| format!("the system's certificates can't be read: {error}"))?
                .https_or_http()
                .enable_http1()
                .build();
            get(connector, url).await
        } else {
            let connector = hyper_util::client::legacy::connect::HttpConnector::new();
            get(connector, url).await
        }
    };
    match tokio::time::timeout(LIMIT, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

async fn get(
    connector: impl Connect + Clone + Send + Sync + 'static,
    url: &str,
) -> Result<u16, String> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let url = url.parse().map_err(|_| "it is no URL".to_owned())?;
    match client.get(url).await {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) => Err(innermost(&error)),
    }
}

/// The innermost cause: those above only say that connecting failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
