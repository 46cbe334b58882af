//! The protocol of the fake store: just enough of S3.

use bytes::Bytes;
use http_body_util::Full;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response, StatusCode};

use super::{BUCKET, Listing, Object, State};

type Answer = Response<Full<Bytes>>;

impl State {
    pub(super) fn answer(&mut self, parts: &Parts, body: &Bytes) -> Answer {
        let path = parts.uri.path().trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let key = decode(key);
        let query = parts.uri.query().unwrap_or_default();
        match (&parts.method, key.is_empty()) {
            (&Method::PUT | &Method::HEAD, true) => plain(StatusCode::OK),
            (&Method::GET, true) => self.list(query),
            (&Method::POST, true) => self.delete_many(body),
            (&Method::PUT, false) => self.put(&key, &parts.headers, body),
            (&Method::GET | &Method::HEAD, false) => self.get(&key, &parts.method),
            (&Method::DELETE, false) => self.delete(&key, &parts.headers),
            _ => error(StatusCode::NOT_IMPLEMENTED, "NotImplemented", bucket),
        }
    }

    fn find(&self, key: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.key == key)
    }

    fn get(&self, key: &str, method: &Method) -> Answer {
        let Some(object) = self.find(key) else {
            return error(StatusCode::NOT_FOUND, "NoSuchKey", key);
        };
        let content = if method == Method::HEAD {
            Bytes::new()
        } else {
            object.content.clone()
        };
        let response = Response::builder()
            .header("etag", &object.etag)
            .header("content-length", object.content.len());
        response.body(Full::new(content)).unwrap_or_default()
    }

    fn put(&mut self, key: &str, headers: &HeaderMap, body: &Bytes) -> Answer {
        if let Some(refusal) = self.refusal(key, headers) {
            return refusal;
        }
        let chunked = header(headers, "content-encoding").contains("aws-chunked")
            || header(headers, "x-amz-content-sha256").starts_with("STREAMING-");
        let content = if chunked { unchunk(body) } else { body.clone() };
        let etag = self.insert(key, content);
        Response::builder()
            .header("etag", etag)
            .body(Full::default())
            .unwrap_or_default()
    }

    fn delete(&mut self, key: &str, headers: &HeaderMap) -> Answer {
        if let Some(refusal) = self.refusal(key, headers) {
            return refusal;
        }
        self.objects.retain(|object| object.key != key);
        plain(StatusCode::NO_CONTENT)
    }

    fn delete_many(&mut self, body: &Bytes) -> Answer {
        let text = String::from_utf8_lossy(body).into_owned();
        for part in text.split("<Key>").skip(1) {
            let key = unescape(part.split("</Key>").next().unwrap_or_default());
            self.objects.retain(|object| object.key != key);
        }
        xml("<DeleteResult></DeleteResult>")
    }

    /// The answer to a write whose condition does not hold.
    fn refusal(&self, key: &str, headers: &HeaderMap) -> Option<Answer> {
        let existing = self.find(key);
        let wanted = header(headers, "if-match");
        let failed = || {
            Some(error(
                StatusCode::PRECONDITION_FAILED,
                "PreconditionFailed",
                key,
            ))
        };
        match existing {
            Some(_) if header(headers, "if-none-match") == "*" => failed(),
            Some(object)
                if !wanted.is_empty()
                    && wanted.trim_matches('"') != object.etag.trim_matches('"') =>
            {
                failed()
            }
            None if !wanted.is_empty() => Some(error(StatusCode::NOT_FOUND, "NoSuchKey", key)),
            _ => None,
        }
    }

    fn list(&self, query: &str) -> Answer {
        let value = |name: &str| {
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name)
        };
        let prefix = value("prefix")
            .map(|(_, prefix)| decode(prefix))
            .unwrap_or_default();
        let start = value("continuation-token")
            .and_then(|(_, token)| token.parse().ok())
            .unwrap_or(0);
        let encoded = value("encoding-type").is_some();
        if matches!(self.listing, Listing::FailsAfter(pages) if start >= pages * self.page_size) {
            return error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "the listing",
            );
        }
        let matching: Vec<_> = self
            .objects
            .iter()
            .filter(|object| object.key.starts_with(&prefix))
            .collect();
        let page: Vec<_> = matching
            .iter()
            .skip(start)
            .take(self.page_size)
            .map(|object| object.entry(encoded))
            .collect();
        let page = page.concat();
        let next = start + self.page_size;
        let truncated = next < matching.len();
        let token = match self.listing {
            Listing::Whole | Listing::FailsAfter(_) if truncated => {
                format!("<NextContinuationToken>{next}</NextContinuationToken>")
            }
            Listing::Whole | Listing::FailsAfter(_) | Listing::LosesItsToken => String::new(),
        };
        let encoding = if encoded {
            "<EncodingType>url</EncodingType>"
        } else {
            ""
        };
        xml(&format!(
            "<ListBucketResult><Name>{BUCKET}</Name><Prefix>{}</Prefix>{encoding}<MaxKeys>{}</MaxKeys>\
             <IsTruncated>{truncated}</IsTruncated>{token}{page}</ListBucketResult>",
            escape(&prefix),
            self.page_size,
        ))
    }
}

impl Object {
    fn entry(&self, encoded: bool) -> String {
        let key = if encoded {
            encode(&self.key)
        } else {
            escape(&self.key)
        };
        let (etag, size) = (escape(&self.etag), self.content.len());
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>\
             <ETag>{etag}</ETag><Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn plain(status: StatusCode) -> Answer {
    Response::builder()
        .status(status)
        .body(Full::default())
        .unwrap_or_default()
}

fn xml(document: &str) -> Answer {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{document}");
    Response::builder()
        .header("content-type", "application/xml")
        .body(Full::new(body.into()))
        .unwrap_or_default()
}

fn error(status: StatusCode, code: &str, about: &str) -> Answer {
    let mut answer = xml(&format!(
        "<Error><Code>{code}</Code><Message>{}</Message></Error>",
        escape(about)
    ));
    *answer.status_mut() = status;
    answer
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
}

fn encode(text: &str) -> String {
    let encoded = text.bytes().map(|byte| {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
        if plain {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    encoded.collect::<Vec<_>>().concat()
}

fn decode(text: &str) -> String {
    let mut decoded = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte =
            escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() {
            tail.get(2..).unwrap_or_default()
        } else {
            tail
        };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The content of an `aws-chunked` body; signatures and trailers are not looked at.
fn unchunk(body: &Bytes) -> Bytes {
    let mut content = Vec::new();
    let mut rest = body.as_ref();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let head = rest.get(..end).unwrap_or_default();
        let length = head
            .split(|byte| *byte == b';')
            .next()
            .and_then(|hex| std::str::from_utf8(hex).ok());
        let Some(length) = length
            .and_then(|hex| usize::from_str_radix(hex, 16).ok())
            .filter(|length| *length > 0)
        else {
            break;
        };
        let Some(chunk) = rest.get(end + 2..end + 2 + length) else {
            break;
        };
        content.extend_from_slice(chunk);
        rest = rest.get(end + 2 + length + 2..).unwrap_or_default();
    }
    content.into()
}
