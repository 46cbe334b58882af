//! Order, grouping and pages of listings, against their definition.

use super::*;

/// What a listing should be, from the definition: filter, group, cut.
fn model(keys: &BTreeSet<&str>, request: &ListRequest) -> Vec<String> {
    let mut names = Vec::new();
    for key in keys {
        let Some(rest) = key.strip_prefix(&*request.prefix) else {
            continue;
        };
        let group = rest
            .find(&*request.delimiter)
            .filter(|_| !request.delimiter.is_empty());
        let name = match group {
            Some(at) => &key[..request.prefix.len() + at + request.delimiter.len()],
            None => key,
        };
        let is_new = names.last().is_none_or(|last| last != name);
        if is_new
            && request
                .after
                .as_ref()
                .is_none_or(|after| name > after.as_str())
        {
            names.push(name.to_owned());
        }
    }
    names
}

#[tokio::test]
async fn listings_are_what_their_definition_says_page_by_page() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let keys = BTreeSet::from([
        "a",
        "a/",
        "a/b",
        "a/b/c",
        "a-b",
        "a.b",
        "a//b",
        "ab",
        "a\u{7f}",
        "a\u{80}",
        "b/x/1",
        "b/x/2",
        "b/y",
        "é/1",
        "é/2",
        "\u{10ffff}",
        "\u{10ffff}/z",
        "c%2F",
        "c+",
        "c\\d",
        "c\nd",
        "..",
        "../x",
    ]);
    for key in &keys {
        let put = inline(key, key);
        store.write(|edit| edit.put_object(put)).await.unwrap();
    }
    for prefix in ["", "a", "a/", "b/", "b/x", "é", "\u{10ffff}", "nothing"] {
        for delimiter in ["", "/", "b", "x/", "//"] {
            for after in [
                None,
                Some("a"),
                Some("a/"),
                Some("a/b"),
                Some("b/x/1"),
                Some("b/x/"),
                Some("zz"),
                Some("é/1"),
            ] {
                for limit in [1, 2, 3, 1000] {
                    let request = || ListRequest {
                        bucket: BUCKET.to_owned(),
                        prefix: prefix.to_owned(),
                        delimiter: delimiter.to_owned(),
                        after: after.map(str::to_owned),
                        resume: None,
                        limit,
                    };
                    let found = all_pages(&store, request()).await;
                    assert_eq!(found, model(&keys, &request()), "{:?}", request());
                }
            }
        }
    }
}

async fn all_pages(store: &Store, mut request: ListRequest) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let (page, returned) = store
            .read(|connection| Ok((list(connection, &request)?, request)))
            .await
            .unwrap();
        assert!(page.entries.len() <= returned.limit);
        found.extend(page.entries.iter().map(|entry| entry.name().to_owned()));
        request = returned;
        match page.next {
            Some(next) => request.resume = Some(next),
            None => return found,
        }
    }
}
